//! What requests meet in the place of their answers.

/// What a request meets in the place of its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    Status(u16),
    /// With `Retry-After` in seconds.
    RetryAfter(u16, u64),
    /// 401, and the token is not known any more.
    TokenEnded,
    /// 200 with half of the body, said to be whole.
    Half,
    /// The connection breaks off in the body.
    BrokenOff,
    /// The refusal of the vendor with this code.
    Code(&'static str),
    /// The page names itself as the one that follows.
    Circle,
    /// No page that was named before is known any more.
    PagesForgotten,
}

/// Which requests meet it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    FirstPage,
    LaterPage,
}

#[derive(Debug, Clone)]
pub struct Planned {
    pub fault: Fault,
    pub when: When,
    /// How many requests.
    pub times: u32,
}
