//! Candidates and applications as the simulated account holds them.

use fastrand::Rng;

use crate::world::names;

#[derive(Debug, Clone)]
pub(crate) struct Education {
    pub(crate) id: i64,
    pub(crate) school: usize,
    pub(crate) degree: usize,
    pub(crate) discipline: usize,
    pub(crate) from_year: i64,
    pub(crate) to_year: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct Employment {
    pub(crate) id: i64,
    pub(crate) company: String,
    pub(crate) title: String,
    pub(crate) from: &'static str,
    pub(crate) to: Option<&'static str>,
}

#[derive(Debug, Clone)]
pub(crate) struct Attachment {
    pub(crate) id: i64,
    pub(crate) application: usize,
    pub(crate) kind: &'static str,
    pub(crate) file_name: String,
    pub(crate) created_at: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) id: i64,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) first: Option<String>,
    pub(crate) last: Option<String>,
    pub(crate) preferred: Option<String>,
    pub(crate) company: Option<String>,
    pub(crate) title: Option<String>,
    pub(crate) emails: Vec<(String, &'static str)>,
    pub(crate) phones: Vec<(String, &'static str)>,
    pub(crate) addresses: Vec<(String, &'static str)>,
    pub(crate) websites: Vec<(String, &'static str)>,
    pub(crate) social: Vec<String>,
    pub(crate) educations: Vec<Education>,
    pub(crate) employments: Vec<Employment>,
    /// Index of the tag and the id of its application to this candidate.
    pub(crate) tags: Vec<(usize, i64)>,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) external_id: Option<String>,
    pub(crate) recruiter: Option<usize>,
    pub(crate) coordinator: Option<usize>,
    pub(crate) can_email: bool,
    pub(crate) private: bool,
    pub(crate) color: Option<String>,
    pub(crate) gone: bool,
}

impl Candidate {
    /// A person nobody is; ids of parts come from `next`.
    pub(crate) fn new(id: i64, at: i64, rng: &mut Rng, mut next: impl FnMut() -> i64) -> Self {
        let first = names::given(rng);
        let email = format!("person.{id}@mail.example");
        let employed = rng.u8(..10) < 6;
        let has_education = rng.u8(..10) < 7;
        Self {
            id,
            created_at: at,
            updated_at: at,
            preferred: (rng.u8(..10) < 2).then(|| names::given(rng)),
            first: Some(first),
            last: Some(names::family(rng)),
            company: employed.then(|| names::company(rng)),
            title: employed.then(|| names::title(rng)),
            emails: vec![(email, "personal")],
            phones: if rng.u8(..10) < 7 { vec![(names::phone(rng), "mobile")] } else { Vec::new() },
            addresses: if rng.bool() {
                vec![("123 Test Street\nNew York, NY 10001".to_owned(), "home")]
            } else {
                Vec::new()
            },
            websites: if rng.u8(..10) < 3 {
                vec![(format!("https://site{id}.example/?a=1&b=2"), "personal")]
            } else {
                Vec::new()
            },
            social: if rng.u8(..10) < 3 { vec![format!("@person{id}")] } else { Vec::new() },
            educations: if has_education {
                let from_year = 1996 + rng.i64(0..20);
                vec![Education {
                    id: next(),
                    school: rng.usize(..3),
                    degree: rng.usize(..3),
                    discipline: rng.usize(..3),
                    from_year,
                    to_year: from_year + 4,
                }]
            } else {
                Vec::new()
            },
            employments: if employed {
                let to = rng.bool().then_some("2024-03-30");
                vec![Employment {
                    id: next(),
                    company: names::company(rng),
                    title: names::title(rng),
                    from: "2019-03-01",
                    to,
                }]
            } else {
                Vec::new()
            },
            tags: if rng.u8(..10) < 4 { vec![(rng.usize(..4), next())] } else { Vec::new() },
            attachments: Vec::new(),
            external_id: (rng.u8(..10) < 3).then(|| format!("{:024x}", rng.u64(..))),
            recruiter: rng.bool().then(|| 5 + rng.usize(..3)),
            coordinator: rng.bool().then(|| 8 + rng.usize(..3)),
            can_email: rng.u8(..10) < 9,
            private: rng.u8(..20) == 0,
            color: rng.bool().then(|| "Blue".to_owned()),
            gone: false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Active,
    Rejected { by_candidate: bool },
    Hired,
    Converted,
}

#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) id: i64,
    /// The end that was entered, at a vendor where ends are stages; `stage` is the one before it then.
    pub(crate) end: Option<Status>,
    /// Index of the job and of its stage.
    pub(crate) stage: (usize, usize),
    pub(crate) created_at: i64,
    pub(crate) entered_at: i64,
    pub(crate) exited_at: Option<i64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Offer {
    pub(crate) id: i64,
    pub(crate) version: i64,
    pub(crate) status: &'static str,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) sent_on: Option<String>,
    pub(crate) resolved_at: Option<i64>,
    pub(crate) starts_on: String,
    /// Cents, so that pay may have a fraction.
    pub(crate) salary_cents: i64,
    pub(crate) bonus: Option<i64>,
    pub(crate) opening: Option<usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct Interview {
    pub(crate) id: i64,
    pub(crate) stage: (usize, usize),
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) status: &'static str,
    pub(crate) starts_at: i64,
    pub(crate) interviewer: usize,
    pub(crate) interviewer_row: i64,
    pub(crate) scorecard: Option<i64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Application {
    pub(crate) id: i64,
    pub(crate) candidate: usize,
    pub(crate) job: Option<usize>,
    pub(crate) stage: Option<usize>,
    pub(crate) status: Status,
    pub(crate) prospect: bool,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) rejected_at: Option<i64>,
    pub(crate) hired_at: Option<i64>,
    pub(crate) reason: Option<usize>,
    pub(crate) rejected_by: Option<usize>,
    /// Row id and creation of `rejection_details`, kept when the application is rejected again.
    pub(crate) rejection_row: Option<(i64, i64)>,
    pub(crate) source: Option<usize>,
    pub(crate) credited_to: Option<usize>,
    pub(crate) custom: Option<String>,
    pub(crate) visits: Vec<Visit>,
    pub(crate) offers: Vec<Offer>,
    pub(crate) interviews: Vec<Interview>,
    /// Ids of rows of other streams that vanish with the application.
    pub(crate) scorecards: Vec<i64>,
    pub(crate) notes: Vec<i64>,
    pub(crate) eeoc: Option<i64>,
    pub(crate) gone: bool,
}
