/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_campaign: the table of `kairan campaign …`, and how its commands find a run. */
#include "cmd_campaign.h"

#include <stdio.h>
#include <string.h>

const struct cli_command cli_campaign_commands[] = {
	{ "campaign create", "FILE", "create a campaign from its file, or bring it up to date",
	    "Checks everything that can be checked before a run: the stream, the segment, the "
	    "fields of\n"
	    "the templates against the customers, the times. The format is in "
	    "kairan-campaign(5).\n\n"
	    "Example:\n"
	    "  kairan campaign create november-news.campaign\n",
	    true, campaign_create },
	{ "campaign preview", "FILE|NAME", "show the mail as one recipient would get it",
	    "Options:\n"
	    "  --recipient ID|JSON   a customer by number, or an object with email and fields; "
	    "without\n"
	    "                        it every field shows its name in brackets\n"
	    "  --eml                 the whole message as it would be sent\n"
	    "  --html, --text        one part alone\n\n"
	    "A file and an object need no database.\n\n"
	    "Example:\n"
	    "  kairan campaign preview news.campaign --recipient "
	    "'{\"email\":\"a@shop.example\",\"name\":\"Aiko\"}'\n",
	    true, campaign_preview },
	{ "campaign lint", "FILE", "say what would cost the mail its readers, before it is sent",
	    "Looks for what the law asks, what filters and mail programs refuse, and for fields "
	    "that\n"
	    "customers lack (with a database). Exit code 1 when there are errors. The rules are "
	    "in\n"
	    "kairan-campaign(1).\n\n"
	    "Options:\n"
	    "  --explain RULE        what a rule asks, with an example; \"all\" for every rule\n\n"
	    "Example:\n"
	    "  kairan campaign lint news.campaign\n",
	    true, campaign_lint },
	{ "campaign test", "FILE|NAME --to ADDRESS",
	    "send one copy marked [TEST] to an address of yours",
	    "Goes through the configured relay at once and is counted nowhere.\n\n"
	    "Options:\n"
	    "  --to ADDRESS          where it goes\n"
	    "  --recipient ID|JSON   whose fields it shows\n\n"
	    "Example:\n"
	    "  kairan campaign test november-news --to me@shop.example --recipient 1042\n",
	    true, campaign_test },
	{ "campaign plan", "FILE|NAME", "say how a run would go, before it is started",
	    "Counts the audience as the producer would take it and plays the run in virtual "
	    "time:\n"
	    "recipients by provider, who is left out and why, when it would end, what holds it "
	    "up,\n"
	    "what it costs. Changes nothing.\n\n"
	    "Options:\n"
	    "  --at TIME         when it would start; without it the campaign's own time, or "
	    "now\n"
	    "  --run-key KEY     what is left of this run, instead of a new one\n"
	    "  --ses             ask Amazon SES for the quota that is left\n\n"
	    "Example:\n"
	    "  kairan campaign plan november-news --at '2026-12-01 10:00 Asia/Tokyo'\n",
	    true, campaign_plan },
	{ "campaign start", "NAME", "start a run now",
	    "The same run key never sends twice: a second start finds the first run.\n\n"
	    "Options:\n"
	    "  --run-key KEY      name of this occurrence; without it the time in UTC\n"
	    "  --not-after TIME   give the run up if it could not begin until then\n"
	    "  --wait             show progress until the run has ended; exit code 0 finished,\n"
	    "                     1 failed or cancelled, 3 paused, 4 finished with recipients in\n"
	    "                     doubt, 5 missed, 6 the run had ended before\n\n"
	    "Example (cron):\n"
	    "  kairan campaign start daily-news --run-key $(date -u +%F) --wait\n",
	    true, campaign_start },
	{ "campaign schedule", "NAME --at TIME",
	    "let the producer start a run later, once or again and again",
	    "Options:\n"
	    "  --at TIME          with its time zone: '2026-12-01 10:00 Asia/Tokyo'\n"
	    "  --not-after TIME   a run that could not begin until then is missed, not sent late\n"
	    "  --window DURATION  the same for every run of a repeated campaign, e.g. 2h\n"
	    "  --repeat HOW       daily, weekly, monthly, 'every 2 days'\n"
	    "  --never            take the schedule back\n\n"
	    "Example:\n"
	    "  kairan campaign schedule news --at '2026-12-01 10:00 Asia/Tokyo' --repeat weekly "
	    "--window 2h\n",
	    true, campaign_schedule },
	{ "campaign pause", "NAME", "stop sending within a second; resume goes on where it stopped",
	    "Options:\n"
	    "  --run-key KEY   which run, when several are under way\n\n"
	    "Example:\n"
	    "  kairan campaign pause november-news\n",
	    true, campaign_pause },
	{ "campaign resume", "NAME", "go on with a paused run",
	    "Options:\n"
	    "  --run-key KEY   which run, when several are paused\n"
	    "  --lane NAME     only this lane, which the breaker has paused\n"
	    "  --origin NAME   only customers of this origin, which the breaker has paused\n"
	    "  --end-canary    let the others go before the canary of the run is judged\n\n"
	    "Examples:\n"
	    "  kairan campaign resume november-news\n"
	    "  kairan campaign resume november-news --lane docomo\n",
	    true, campaign_resume },
	{ "campaign cancel", "NAME", "end a run for good; who was not sent to yet never will be",
	    "Without a run under way the schedule is taken back.\n\n"
	    "Options:\n"
	    "  --run-key KEY   which run, when several are under way\n\n"
	    "Example:\n"
	    "  kairan campaign cancel november-news\n",
	    true, campaign_cancel },
	{ "campaign retry", "NAME --failed", "try those again whose failure was temporary",
	    "Dead addresses and what was sent or is in doubt are left alone.\n\n"
	    "Options:\n"
	    "  --failed        required: say what is to be tried again\n"
	    "  --run-key KEY   which run; without it the newest\n\n"
	    "Example:\n"
	    "  kairan campaign retry november-news --failed\n",
	    true, campaign_retry },
	{ "campaign status", "NAME", "how far a run is",
	    "Options:\n"
	    "  --run-key KEY   which run; without it the newest\n\n"
	    "Example:\n"
	    "  kairan campaign status november-news --json\n",
	    true, campaign_status },
	{ "campaign list", "", "all campaigns with their newest run",
	    "Example:\n"
	    "  kairan campaign list\n",
	    true, campaign_list },
	{ "campaign report", "NAME",
	    "what became of a run: table for a spreadsheet, page for a reader",
	    "Options:\n"
	    "  --run-key KEY   which run; without it the newest\n"
	    "  --csv FILE      one line per recipient; - is standard output\n"
	    "  --html FILE     one page with charts, complete in itself; - is standard output\n\n"
	    "Files are readable by you alone: they hold addresses.\n\n"
	    "Example:\n"
	    "  kairan campaign report november-news --csv november.csv --html november.html\n",
	    true, campaign_report },
	{ 0 },
};

/* ---------------------------------------------------------------- runs */

/* EXIT_DONE when there is a campaign of this name. */
static int
check_campaign(struct cli *cli, struct db *db, const char *name)
{
	PGresult *r = db_query(db, "SELECT FROM kairan.campaign WHERE name = $1", 1, &name);
	int rows;

	if (r == NULL)
		return cli_db_failed(cli, db, "looking for the campaign");
	rows = PQntuples(r);
	PQclear(r);
	if (rows == 0)
		return cli_fail(cli, EXIT_USAGE,
		    "there is no campaign \"%s\"; kairan campaign list shows all", name);
	return EXIT_DONE;
}

static void
take_run(struct campaign_run *run, const PGresult *r)
{
	run->id = db_number(r, 0, 0);
	(void)snprintf(run->key, sizeof(run->key), "%s", db_text(r, 0, 1));
	(void)snprintf(run->state, sizeof(run->state), "%s", db_text(r, 0, 2));
	run->sealed = db_text(r, 0, 3)[0] == 't';
}

/* states is an array literal, {a,b}, or NULL. */
static int
no_run(struct cli *cli, const char *name, const char *states)
{
	char list[200] = "";
	size_t n = 0;

	if (states == NULL)
		return cli_fail(cli, EXIT_NOTHING, "campaign \"%s\" has no run yet", name);
	for (const char *p = states + 1; *p != '\0' && *p != '}' && n + 5 < sizeof(list); p++) {
		if (*p != ',')
			list[n++] = *p;
		else
			n += (size_t)snprintf(
			    list + n, sizeof(list) - n, strchr(p + 1, ',') ? ", " : " or ");
	}
	list[n] = '\0';
	return cli_fail(cli, EXIT_NOTHING, "campaign \"%s\" has no run that is %s", name, list);
}

static int
find_run(struct cli *cli, struct db *db, const char *name, const char *key, const char *states,
    struct campaign_run *run, bool quietly)
{
	static const char sql[] =
	    "SELECT r.id, r.run_key, r.state, r.low_water > 0 "
	    "FROM kairan.run r JOIN kairan.campaign c ON c.id = r.campaign_id "
	    "WHERE c.name = $1 AND ($2::text IS NULL OR r.run_key = $2) "
	    "AND ($3::kairan.run_state[] IS NULL OR r.state = ANY ($3)) ORDER BY r.id DESC LIMIT 2";
	const char *params[] = { name, key, key != NULL ? NULL : states };
	PGresult *r;
	int code = check_campaign(cli, db, name);

	if (code != EXIT_DONE)
		return code;
	r = db_query(db, sql, 3, params);
	if (r == NULL)
		return cli_db_failed(cli, db, "looking for the run");
	if (PQntuples(r) == 0 && key != NULL)
		code = cli_fail(cli, EXIT_USAGE, "campaign \"%s\" has no run \"%s\"", name, key);
	else if (PQntuples(r) == 0)
		code = quietly ? EXIT_NOTHING : no_run(cli, name, states);
	else if (PQntuples(r) > 1 && states != NULL && key == NULL)
		code = cli_fail(cli, EXIT_USAGE,
		    "campaign \"%s\" has several such runs (\"%s\", \"%s\", …); say which with "
		    "--run-key",
		    name, db_text(r, 0, 1), db_text(r, 1, 1));
	else
		take_run(run, r);
	PQclear(r);
	return code;
}

int
campaign_find_run(struct cli *cli, struct db *db, const char *name, const char *key,
    const char *states, struct campaign_run *run)
{
	return find_run(cli, db, name, key, states, run, false);
}

int
campaign_find_run_quietly(struct cli *cli, struct db *db, const char *name, const char *key,
    const char *states, struct campaign_run *run)
{
	return find_run(cli, db, name, key, states, run, true);
}

json_t *
campaign_progress(struct db *db, int64_t run)
{
	char id[24];
	const char *params[] = { id };
	json_t *object;
	PGresult *r;

	(void)snprintf(id, sizeof(id), "%lld", (long long)run);
	r = db_query(db,
	    "SELECT row_to_json(x) FROM (SELECT p.*, e.opened, e.opened_by_proxy, "
	    "e.opened_by_machine, e.clicked, e.clicked_by_machine, x.expected_finish, "
	    "x.expected_p90, x.p90_from, extract(epoch FROM "
	    "p.finished_at - x.expected_finish)::bigint AS finished_late_s, k AS canary "
	    "FROM kairan.campaign_progress p JOIN kairan.engagement e ON e.run_id = p.run_id "
	    "LEFT JOIN kairan.run_plan x ON x.run_id = p.run_id "
	    "LEFT JOIN kairan.canary_progress k ON k.run_id = p.run_id WHERE p.run_id = $1) x",
	    1, params);
	if (r == NULL)
		return NULL;
	object = PQntuples(r) == 1 ? json_loads(db_text(r, 0, 0), 0, NULL) : NULL;
	PQclear(r);
	if (object == NULL)
		(void)snprintf(db->error, sizeof(db->error), "the run is not there any more");
	return object;
}

int64_t
campaign_count(const json_t *progress, const char *name)
{
	return json_integer_value(json_object_get(progress, name));
}

const char *
campaign_word(const json_t *progress, const char *name)
{
	const char *text = json_string_value(json_object_get(progress, name));

	return text != NULL ? text : "";
}

/* ---------------------------------------------------------------- list */

int
campaign_list(struct cli *cli, int argc, char **argv)
{
	static const char sql[] =
	    "SELECT c.name, st.name AS stream, to_char(c.start_at AT TIME ZONE 'UTC', "
	    "'YYYY-MM-DD HH24:MI \"UTC\"') AS next, "
	    "c.recurrence AS repeat, r.run_key AS newest_run, r.state::text AS state, p.planned, "
	    "p.sent, "
	    "p.failed, p.in_doubt "
	    "FROM kairan.campaign c JOIN kairan.stream st ON st.id = c.stream_id "
	    "LEFT JOIN LATERAL (SELECT * FROM kairan.run r WHERE r.campaign_id = c.id "
	    "ORDER BY r.id DESC LIMIT 1) r ON true "
	    "LEFT JOIN LATERAL (SELECT * FROM kairan.campaign_progress p WHERE p.run_id = r.id) p "
	    "ON true "
	    "ORDER BY coalesce(r.created_at, c.created_at) DESC, c.id DESC";
	PGresult *r;
	struct db db;
	int code;

	argc = cli_options(cli, NULL, argc, argv);
	if (argc != 0)
		return argc < 0 ? EXIT_USAGE
				: cli_fail(cli, EXIT_USAGE, "campaign list takes no argument");
	code = cli_open_db(cli, &db);
	if (code != EXIT_DONE)
		return code;
	r = db_query(&db, sql, 0, NULL);
	if (r == NULL)
		code = cli_db_failed(cli, &db, "listing campaigns");
	else
		cli_print_result(cli, r);
	PQclear(r);
	db_close(&db);
	return code;
}
