//! Words for people and places. Many are awkward on purpose: quotes, markup, non-Latin letters, line breaks.

use fastrand::Rng;

const GIVEN: &[&str] = &[
    "Ada",
    "Amélie",
    "Anaïs",
    "Bao",
    "Björn",
    "Chidi",
    "Dmitri",
    "Eun-ji",
    "Fatima",
    "Giuseppe",
    "Hana",
    "Ingrid",
    "João",
    "Kwame",
    "Lúcia",
    "Małgorzata",
    "Nguyễn",
    "Óscar",
    "Priya",
    "Quentin",
    "Renée",
    "Siobhán",
    "Tomáš",
    "Uma",
    "Víctor",
    "Wei",
    "Xochitl",
    "Yasmin",
    "Zoë",
    "明",
    "Ольга",
    "محمد",
];
const FAMILY: &[&str] = &[
    "O'Neill",
    "Hurley",
    "van der Berg",
    "Smith & Sons",
    "García Márquez",
    "Müller",
    "Nakamura",
    "Okafor",
    "Petrović",
    "Quist",
    "Rao",
    "Sørensen",
    "Tanaka",
    "Ünal",
    "Vasquez",
    "Wójcik",
    "Ximénez",
    "Yılmaz",
    "Zhang",
    "<Null>",
    "D\"Angelo",
    "Le Blanc\u{2019}s",
    "李",
    "Иванова",
];
const COMPANY: &[&str] =
    &["Pirate Shipping", "Bread & Butter", "<angle> Labs", "Ümlaut GmbH", "AT&T-like", "Greenfield", "株式会社"];
const TITLE: &[&str] =
    &["Engineer", "Director of \"Strategic\" Initiatives", "R&D Lead", "Buyer", "Nurse", "Head > Heart"];
pub(crate) const JOBS: &[&str] = &[
    "Developer",
    "Data Scientist",
    "Assistant Store Manager, NYC",
    "Designer",
    "R&D Engineer",
    "Account Executive",
    "People Partner",
    "Site Reliability Engineer",
    "Nurse <Night Shift>",
    "Chef de Partie",
    "Buyer",
    "Translator",
];

/// One of `words`.
pub(crate) fn one<'a>(words: &[&'a str], rng: &mut Rng) -> &'a str {
    words.get(rng.usize(..words.len().max(1))).copied().unwrap_or("")
}

pub(crate) fn given(rng: &mut Rng) -> String {
    one(GIVEN, rng).to_owned()
}

pub(crate) fn family(rng: &mut Rng) -> String {
    one(FAMILY, rng).to_owned()
}

pub(crate) fn company(rng: &mut Rng) -> String {
    one(COMPANY, rng).to_owned()
}

pub(crate) fn title(rng: &mut Rng) -> String {
    one(TITLE, rng).to_owned()
}

pub(crate) fn phone(rng: &mut Rng) -> String {
    format!("+1-{}-555-{:04}", 200 + rng.u16(..700), rng.u16(..10_000))
}

/// Free text as people write it, with what breaks careless encoders.
pub(crate) fn remark(rng: &mut Rng) -> String {
    let texts = [
        "Strong <b>systems</b> background & good questions.",
        "\"Would hire again\" \\ says the referee\nSecond line\twith a tab.",
        "Prefers e-mail > phone. 👍🏽",
        "Talked about R&D, C++ & </script>.",
        "Нет замечаний",
    ];
    one(&texts, rng).to_owned()
}
