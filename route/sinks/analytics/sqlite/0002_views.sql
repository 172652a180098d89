-- What nothing supersedes, in the order of time: a chain in which each from is the to before it.
CREATE VIEW effective_change AS
SELECT s.*, coalesce(s.occurred_at, s.observed_at) AS happened_at
FROM stage_change AS s
WHERE NOT EXISTS (
    SELECT 1 FROM stage_change AS later
    WHERE later.application_id = s.application_id AND EXISTS (SELECT 1 FROM json_each(later.supersedes) AS replaced WHERE replaced.value = s.event_id)
);

-- One row for each time that an application was in a stage; left_at is null while it is there.
CREATE VIEW stage_visit AS
WITH move AS (
    SELECT *, lead(happened_at) OVER (PARTITION BY application_id ORDER BY julianday(happened_at), sequence_no) AS next_at
    FROM effective_change
    WHERE from_stage_id IS DISTINCT FROM to_stage_id
       OR change_type IN ('CREATED', 'REJECTION', 'UNREJECTION', 'WITHDRAWAL', 'HIRE', 'UNHIRE', 'REOPEN', 'DELETED')
)
SELECT tenant_id, connection_id, application_id, job_id,
       to_stage_id AS stage_id, to_stage_name AS stage_name, to_stage_category AS stage_category,
       happened_at AS entered_at, next_at AS left_at,
       CAST(round((julianday(next_at) - julianday(happened_at)) * 86400000) AS INTEGER) AS duration_ms
FROM move
WHERE to_stage_id IS NOT NULL AND to_status NOT IN ('REJECTED', 'WITHDRAWN', 'HIRED', 'ARCHIVED', 'CONVERTED');

-- How many applications of a job ever reached a stage, and what became of them.
CREATE VIEW funnel AS
SELECT v.tenant_id, v.job_id, v.stage_id, max(v.stage_name) AS stage_name, max(v.stage_category) AS stage_category,
       count(DISTINCT v.application_id) AS reached,
       count(DISTINCT CASE WHEN a.status = 'HIRED' THEN v.application_id END) AS hired,
       count(DISTINCT CASE WHEN a.status = 'REJECTED' THEN v.application_id END) AS rejected,
       count(DISTINCT CASE WHEN a.status = 'WITHDRAWN' THEN v.application_id END) AS withdrawn,
       count(DISTINCT CASE WHEN a.status = 'ACTIVE' THEN v.application_id END) AS active
FROM stage_visit AS v
LEFT JOIN application AS a ON a.application_id = v.application_id
GROUP BY v.tenant_id, v.job_id, v.stage_id;

-- How long finished visits of a stage took.
CREATE VIEW time_in_stage AS
SELECT tenant_id, job_id, stage_id, max(stage_name) AS stage_name, max(stage_category) AS stage_category,
       count(*) AS visits,
       min(duration_ms) AS shortest_ms, max(duration_ms) AS longest_ms,
       CAST(avg(duration_ms) AS INTEGER) AS average_ms
FROM stage_visit
WHERE left_at IS NOT NULL
GROUP BY tenant_id, job_id, stage_id;
