//! The company that hires: people, places, look-ups and jobs with their interview plans. A pure function of the seed.

use fastrand::Rng;

use crate::world::names;

/// Named rows that have no life of their own.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) external_id: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: i64,
    pub(crate) first: String,
    pub(crate) last: String,
    pub(crate) email: String,
    pub(crate) employee_id: Option<String>,
    /// Listed only when asked for.
    pub(crate) service_account: bool,
}

impl User {
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.first, self.last)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Reason {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) by_candidate: bool,
    /// Came with the product: listed only when asked for.
    pub(crate) built_in: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) id: i64,
    pub(crate) name: &'static str,
}

#[derive(Debug, Clone)]
pub(crate) struct Opening {
    pub(crate) id: i64,
    pub(crate) code: String,
    /// Vendor id of the application that filled it, and when.
    pub(crate) filled: Option<(i64, i64)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) requisition_id: Option<String>,
    pub(crate) post_id: i64,
    pub(crate) department: usize,
    pub(crate) offices: Vec<usize>,
    pub(crate) stages: Vec<Stage>,
    pub(crate) openings: Vec<Opening>,
    pub(crate) manager: usize,
    pub(crate) recruiter: usize,
    pub(crate) coordinator: usize,
    pub(crate) salary: (i64, i64),
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) notes: Option<String>,
}

impl Job {
    pub(crate) fn assessment(&self) -> usize {
        self.stages.iter().position(|stage| is_assessment(stage.name)).unwrap_or(1)
    }

    pub(crate) fn offer(&self) -> usize {
        self.stages.len().saturating_sub(1)
    }
}

/// Whether a stage of this name is an assessment.
#[must_use]
pub fn is_assessment(stage_name: &str) -> bool {
    ASSESSMENT_STAGES.contains(&stage_name)
}

const ASSESSMENT_STAGES: &[&str] = &["Take Home Test", "Assessment"];
const PLANS: &[&[&str]] = &[
    &["Application Review", "Preliminary Phone Screen", "Take Home Test", "Face to Face", "Reference Check", "Offer"],
    &["Application Review", "Phone Interview", "Assessment", "Onsite Interview", "Offer"],
    &[
        "Application Review",
        "Recruiter Screen",
        "Hiring Manager Review",
        "Take Home Test",
        "Executive Interview",
        "Offer",
    ],
];

#[derive(Debug, Clone)]
pub(crate) struct Company {
    pub(crate) users: Vec<User>,
    pub(crate) departments: Vec<Named>,
    pub(crate) offices: Vec<Named>,
    pub(crate) sources: Vec<Named>,
    pub(crate) reasons: Vec<Reason>,
    pub(crate) close_reasons: Vec<Named>,
    pub(crate) tags: Vec<Named>,
    /// Schools, degrees and disciplines: options of custom fields in v3.
    pub(crate) schools: Vec<Named>,
    pub(crate) degrees: Vec<Named>,
    pub(crate) disciplines: Vec<Named>,
    pub(crate) jobs: Vec<Job>,
    /// A job that comes and goes while the clock runs; nobody applies for it.
    pub(crate) spare: Job,
}

impl Company {
    /// A company with enough jobs and openings for `applications`; everything is older than `start`.
    pub(crate) fn new(seed: u64, applications: usize, start: i64) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x00c0_ffee);
        let users: Vec<User> = (0..12).map(|n| user(n, &mut rng)).collect();
        let departments =
            named(8_700, 9, &["Technology", "Guideshops", "R&D", "Community", "People <Ops>", "Creative"], "ex-dept");
        let offices =
            named(16_478, 14, &["New York City", "St. Louis", "London", "Zürich", "東京", "Dallas"], "ex-office");
        let count = (applications / 25).clamp(4, 24);
        let openings = applications / count / 2 + 3;
        Self {
            departments,
            offices,
            sources: named(
                31,
                1,
                &["Jobs page on your website", "LinkedIn (Prospecting)", "Agency", "Referral", "Monster & Co"],
                "",
            ),
            reasons: reasons(),
            close_reasons: named(4_020, 1, &["Hire - New Headcount", "Hire - Backfill", "Budget Cut"], ""),
            tags: named(610_001, 3, &["Ruby", "Comp Sci", "Import from Previous ATS", "C++ & <Rust>"], ""),
            schools: named(10_900_100, 1, &["Harvard University", "Stanford University", "ETH Zürich"], ""),
            degrees: named(
                10_910_100,
                1,
                &["Bachelor's Degree", "Master's Degree", "Doctor of Philosophy (Ph.D.)"],
                "",
            ),
            disciplines: named(10_920_100, 1, &["Computer Science", "Information Systems", "Art & Design"], ""),
            users,
            jobs: (0..count).map(|n| job(n, openings, start, &mut rng)).collect(),
            spare: job(count, 2, start, &mut rng),
        }
    }
}

fn named(base: i64, step: i64, words: &[&str], external: &str) -> Vec<Named> {
    (0_i64..)
        .zip(words)
        .map(|(n, word)| Named {
            id: base + n * step,
            name: (*word).to_owned(),
            external_id: (!external.is_empty() && n % 3 != 2).then(|| format!("{external}-{n}")),
        })
        .collect()
}

fn user(n: i64, rng: &mut Rng) -> User {
    let id = 92_120 + n * 397;
    User {
        id,
        first: names::given(rng),
        last: names::family(rng),
        email: format!("employee.{id}@company.example"),
        employee_id: (n % 4 != 3).then(|| format!("E{:05}", 100 + n)),
        service_account: n == 11,
    }
}

fn reasons() -> Vec<Reason> {
    let list = [
        ("Too Junior", false),
        ("Lacking skill(s) & qualification(s)", false),
        ("Position closed", false),
        ("Compensation < expectations", true),
        ("Accepted another offer", true),
    ];
    (0_i64..)
        .zip(list)
        .map(|(n, (name, by_candidate))| Reason {
            id: 14 + n * 7,
            name: name.to_owned(),
            by_candidate,
            built_in: n == 1 || n == 3,
        })
        .collect()
}

fn job(n: usize, openings: usize, start: i64, rng: &mut Rng) -> Job {
    let serial = i64::try_from(n).unwrap_or(0);
    let id = 4_031_896_006 + serial * 1_000;
    let created_at = start - 86_400_000 * (40 + serial * 9) - rng.i64(0..80_000_000);
    let plan = PLANS.get(n % PLANS.len()).copied().unwrap_or(&[]);
    let low = 40_000 + rng.i64(0..50) * 1_000;
    Job {
        id,
        name: names::JOBS.get(n % names::JOBS.len()).map_or_else(String::new, |word| (*word).to_owned()),
        requisition_id: (!n.is_multiple_of(3)).then(|| format!("REQ-{:04}", n + 11)),
        post_id: 5_026_353_006 + serial * 1_000,
        department: n % 5,
        offices: if n % 4 == 1 { vec![n % 5, (n + 1) % 5] } else { vec![n % 5] },
        stages: (0_i64..)
            .zip(plan)
            .map(|(k, name)| Stage { id: 7_294_410_006 + serial * 100_000 + k * 1_000, name })
            .collect(),
        openings: (0..openings)
            .map(|k| Opening {
                id: 4_400_100_006 + (serial * 1_000 + i64::try_from(k).unwrap_or(0)) * 10,
                code: format!("{}-{}", n + 1, k + 1),
                filled: None,
            })
            .collect(),
        manager: n % 5,
        recruiter: 5 + n % 3,
        coordinator: 8 + n % 3,
        salary: (low, low + 30_000),
        created_at,
        updated_at: created_at + 3_600_000,
        notes: n.is_multiple_of(2).then(|| "<p>Looking for the best!</p>".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_a_story_finds_every_stage_in_the_documentation() {
        let page = include_str!("../../../docs/vendor-api.md");
        let known = page.lines().find_map(|line| line.strip_prefix("- The company's stages are ")).unwrap();
        for stage in PLANS.iter().copied().flatten() {
            assert!(known.contains(stage), "{stage} is not in docs/vendor-api.md");
        }
    }
}
