-- SPDX-License-Identifier: Apache-2.0
-- Least rights. Whoever ran `kairan init` owns everything; the programs have roles of their own.

REVOKE ALL ON SCHEMA kairan FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA kairan FROM PUBLIC;
GRANT USAGE ON SCHEMA kairan TO kairan_producer, kairan_dispatcher, kairan_feedback, kairan_operator,
    kairan_monitor, kairan_segment;
GRANT SELECT ON migration TO kairan_producer, kairan_dispatcher, kairan_feedback, kairan_operator, kairan_monitor;
GRANT EXECUTE ON FUNCTION address_key(text), per_cent(bigint, bigint), suppression_rank(text)
    TO kairan_producer, kairan_dispatcher, kairan_feedback, kairan_operator, kairan_monitor, kairan_segment;
GRANT SELECT ON idn TO kairan_producer, kairan_dispatcher, kairan_feedback, kairan_operator, kairan_segment;

-- Segments: text from an operator, run as a role that can read customers and nothing else.
GRANT SELECT ON customer TO kairan_segment;

-- Producer: plans and hands over; never touches the state of a recipient past queued but through
-- functions, and sees no customer but through the segment role.
GRANT SELECT ON campaign, run, stream, segment, template, send, retry, lease, run_event, tally, dispatcher,
    campaign_progress, suppression, exclusion TO kairan_producer;
GRANT INSERT, UPDATE ON lease TO kairan_producer;
GRANT INSERT ON idn TO kairan_producer, kairan_operator;
GRANT UPDATE (pushed_at), DELETE ON retry TO kairan_producer;
GRANT UPDATE (pushed, low_water, plan_cursor) ON run TO kairan_producer;
GRANT UPDATE (start_at) ON campaign TO kairan_producer;
GRANT UPDATE (hooked_at, hook_tries) ON run_event TO kairan_producer;
GRANT EXECUTE ON FUNCTION run_event_add(int, text), run_move(int, run_state[], run_state, text),
    run_make(text, text, timestamptz, timestamptz), plan_fence(int, bigint), plan_discard(int), plan_begin(int, bigint),
    plan_stage(int, bigint, bigint), plan_is_staged(int), plan_seal(int, bigint),
    dispatcher_bury(int), feedback_month_open(date), schedule_due(),
    send_move_all(int, send_state[], send_state, text, int[], text[]) TO kairan_producer;

-- Dispatcher: changes state columns of rows, reads the customers it was given; makes no rows.
GRANT SELECT ON run, campaign, stream, template, send, customer, suppression, dispatcher TO kairan_dispatcher;
GRANT UPDATE (state, attempt, tries, owner, code, not_before, claimed_at, settled_at, class, reason, enhanced,
    reply, remote, remote_id) ON send TO kairan_dispatcher;
GRANT INSERT, SELECT, UPDATE ON tally TO kairan_dispatcher;
GRANT INSERT, SELECT, UPDATE ON retry TO kairan_dispatcher;
GRANT INSERT (name, host, lock_id), UPDATE (claim_seq, heartbeat_at, stopped_at, trouble) ON dispatcher TO kairan_dispatcher;
GRANT EXECUTE ON FUNCTION dispatcher_bury(int), run_refuse(int, text) TO kairan_dispatcher;
GRANT EXECUTE ON FUNCTION ingest(text[], text[], text[], timestamptz[], int[], int[], int[], text[], text[], text[],
    int[], text[], text[], text[], text[]) TO kairan_dispatcher, kairan_feedback;

-- Feedback: puts events in; sees neither customers nor templates, cannot lift a suppression.
GRANT SELECT ON run, feedback_event TO kairan_feedback;

-- Operator: what a person types.
GRANT SELECT ON ALL TABLES IN SCHEMA kairan TO kairan_operator;
GRANT INSERT, UPDATE, DELETE ON customer, suppression, segment, stream, template, campaign, provider_domain
    TO kairan_operator;
GRANT UPDATE ON SEQUENCE customer_id_seq TO kairan_operator;
GRANT INSERT ON audit TO kairan_operator;
GRANT EXECUTE ON FUNCTION run_event_add(int, text), run_move(int, run_state[], run_state, text),
    run_make(text, text, timestamptz, timestamptz), run_retry_failed(int),
    send_move_all(int, send_state[], send_state, text, int[], text[]), why(text) TO kairan_operator;

-- Monitor: figures, no addresses.
GRANT SELECT ON campaign_progress, bounce_rate, reputation, sending_statistics, suppression_summary, pace,
    run, campaign, stream, dispatcher, tally, provider_domain TO kairan_monitor;
