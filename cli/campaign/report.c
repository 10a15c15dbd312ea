/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report: see report.h. The SQL says what is counted, the C draws it, data/report.css says how
 * it looks.
 */
#include "report.h"

#include <string.h>
#include <time.h>

#include "embed.h"

#define BUCKETS_MAX 96 /* bars over time */
#define CHART_WIDTH 720
#define CHART_HEIGHT 200

/* ---------------------------------------------------------------- CSV */

int64_t
report_csv(struct db *db, int64_t run, FILE *out)
{
	/* the run is a number of ours: COPY takes no parameters */
	static const char format[] =
	    "COPY (SELECT recipient_id, regexp_replace(address, formula, quoted) AS address, "
	    "state, attempt, code, enhanced, class, "
	    "regexp_replace(reason, formula, quoted) AS reason, "
	    "regexp_replace(reply, formula, quoted) AS reply, "
	    "regexp_replace(remote, formula, quoted) AS remote, "
	    "regexp_replace(remote_id, formula, quoted) AS remote_id, "
	    "claimed_at, settled_at, delivered_at, bounced_at, complained_at, unsubscribed_at, "
	    "opened_at, clicked_at "
	    "FROM (SELECT recipient_id, address, state::text AS state, attempt, code, enhanced, "
	    "class, reason, reply, remote, remote_id, claimed_at, settled_at, delivered_at, "
	    "bounced_at, complained_at, unsubscribed_at, opened_at, clicked_at "
	    "FROM kairan.send WHERE run_id = %lld UNION ALL "
	    "SELECT recipient_id, address_key, 'excluded', NULL, NULL, NULL, NULL, rule, evidence, "
	    "NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL "
	    "FROM kairan.exclusion WHERE run_id = %lld) AS r, "
	    "(VALUES ('^([-=+@\\t\\r])', '''\\1')) AS guard(formula, quoted)) "
	    "TO STDOUT (FORMAT csv, HEADER)";
	char sql[sizeof(format) + 40];
	int64_t lines = -1;
	PGresult *r;
	char *row;
	int n;

	(void)snprintf(sql, sizeof(sql), format, (long long)run, (long long)run);
	r = db_query(db, sql, 0, NULL);
	if (r == NULL)
		return -1;
	PQclear(r);
	while ((n = PQgetCopyData(db->conn, &row, 0)) > 0) {
		(void)fwrite(row, 1, (size_t)n, out);
		PQfreemem(row);
		lines++;
	}
	if (n == -2)
		lines = -1;
	while ((r = PQgetResult(db->conn)) != NULL) {
		if (PQresultStatus(r) != PGRES_COMMAND_OK)
			lines = -1;
		PQclear(r);
	}
	if (lines < 0)
		(void)snprintf(db->error, sizeof(db->error), "%.390s", PQerrorMessage(db->conn));
	return lines;
}

/* ---------------------------------------------------------------- small things */

void
report_put_escaped(FILE *out, const char *text)
{
	for (; *text != '\0'; text++) {
		switch (*text) {
		case '&':
			fputs("&amp;", out);
			break;
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		case '\'':
			fputs("&#39;", out);
			break;
		default:
			putc((unsigned char)*text < ' ' || *text == 0x7f ? ' ' : *text, out);
		}
	}
}

int64_t
report_round_up(int64_t value)
{
	static const int64_t steps[] = { 1, 2, 4, 6, 8 };
	int64_t power = 1;

	while (power <= INT64_MAX / 100 && power * 10 < value)
		power *= 10;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if (steps[i] * power >= value)
			return steps[i] * power;
	return power * 10;
}

/* 12345678 -> "12,345,678" */
static const char *
grouped(int64_t value, char dst[32])
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%lld", (long long)value), k = 0;

	for (int i = 0; i < n; i++) {
		if (i > 0 && (n - i) % 3 == 0 && digits[i - 1] != '-')
			dst[k++] = ',';
		dst[k++] = digits[i];
	}
	dst[k] = '\0';
	return dst;
}

static double
per_cent(int64_t part, int64_t whole)
{
	return whole > 0 ? 100.0 * (double)part / (double)whole : 0.0;
}

static double
larger(double a, double b)
{
	return a > b ? a : b;
}

static double
smaller(double a, double b)
{
	return a < b ? a : b;
}

static PGresult *
query_run(struct db *db, const char *sql, int64_t run)
{
	char id[24];
	const char *params[] = { id };

	(void)snprintf(id, sizeof(id), "%lld", (long long)run);
	return db_query(db, sql, 1, params);
}

/* ---------------------------------------------------------------- page */

struct page {
	struct db *db;
	int64_t run;
	FILE *out;
};

static void
put_tile(FILE *out, const char *label, int64_t value, const char *below)
{
	char n[32];

	fprintf(out, "<div><span>%s</span><b>%s</b><span>%s</span></div>\n", label,
	    grouped(value, n), below);
}

static void
put_tile_part(FILE *out, const char *label, int64_t value, int64_t whole)
{
	char below[40] = "&nbsp;";

	if (whole > 0)
		(void)snprintf(below, sizeof(below), "%.*f %%",
		    value > 0 && per_cent(value, whole) < 1 ? 3 : 1, per_cent(value, whole));
	put_tile(out, label, value, below);
}

struct state_column {
	const char *name, *label;
	int column;
};

/* Columns of the head query from 8 on. */
static const struct state_column state_columns[] = {
	{ "sent", "sent", 8 },
	{ "failed", "failed", 9 },
	{ "in_doubt", "in doubt", 10 },
	{ "skipped", "skipped", 11 },
	{ "cancelled", "cancelled", 12 },
	{ "expired", "too late", 13 },
	{ "queued", "not yet sent", 14 },
};
#define STATE_COLUMNS (sizeof(state_columns) / sizeof(state_columns[0]))

/* One bar of the whole run. */
static void
put_states(struct page *p, const PGresult *r)
{
	int64_t total = 0;
	double x = 0;
	char n[32];

	for (size_t i = 0; i < STATE_COLUMNS; i++)
		total += db_number(r, 0, state_columns[i].column);
	fprintf(p->out,
	    "<section class=\"panel\"><h2>Recipients</h2><svg viewBox=\"0 0 %d 26\" role=\"img\" "
	    "aria-label=\"recipients by state\"><clipPath id=\"r\"><rect width=\"%d\" "
	    "height=\"26\" "
	    "rx=\"5\"/></clipPath><g clip-path=\"url(#r)\"><rect class=\"track\" width=\"%d\" "
	    "height=\"26\"/>",
	    CHART_WIDTH, CHART_WIDTH, CHART_WIDTH);
	for (size_t i = 0; i < STATE_COLUMNS; i++) {
		int64_t value = db_number(r, 0, state_columns[i].column);
		double width = total > 0 ? (double)value / (double)total * CHART_WIDTH : 0;

		if (value > 0 && width < 2)
			width = 2;
		if (value > 0)
			fprintf(p->out,
			    "<rect class=\"%s\" x=\"%.2f\" width=\"%.2f\" height=\"26\"><title>%s: "
			    "%s</title></rect>",
			    state_columns[i].name, x, width, state_columns[i].label,
			    grouped(value, n));
		x += width;
	}
	fputs("</g></svg><ul class=\"legend\">", p->out);
	for (size_t i = 0; i < STATE_COLUMNS; i++) {
		int64_t value = db_number(r, 0, state_columns[i].column);

		if (value > 0)
			fprintf(p->out,
			    "<li><svg viewBox=\"0 0 10 10\"><rect class=\"%s\" width=\"10\" "
			    "height=\"10\" rx=\"2\"/></svg>%s %s</li>",
			    state_columns[i].name, grouped(value, n), state_columns[i].label);
	}
	fputs("</ul></section>\n", p->out);
}

/* {"bounced": 12, …} as one sentence. */
static void
put_excluded(struct page *p)
{
	PGresult *r = query_run(p->db,
	    "SELECT replace(key, '_', ' '), value FROM kairan.run, jsonb_each_text(excluded) "
	    "WHERE id = $1 ORDER BY value::bigint DESC",
	    p->run);
	char n[32];

	if (r != NULL && PQntuples(r) > 0) {
		fputs("<section class=\"panel\"><h2>Left out before sending</h2><ul "
		      "class=\"legend\">",
		    p->out);
		for (int i = 0; i < PQntuples(r); i++) {
			fprintf(p->out, "<li>%s ", grouped(db_number(r, i, 1), n));
			report_put_escaped(p->out, db_text(r, i, 0));
			fputs("</li>", p->out);
		}
		fputs("</ul></section>\n", p->out);
	}
	PQclear(r);
}

static void
put_named(FILE *out, const char *before, const char *text, const char *after)
{
	if (text[0] == '\0')
		return;
	fputs(before, out);
	report_put_escaped(out, text);
	fputs(after, out);
}

static void
put_head(struct page *p, const PGresult *r)
{
	FILE *out = p->out;
	int64_t sent = db_number(r, 0, 8), delivered = db_number(r, 0, 15);

	fputs(
	    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
	    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
	    "'unsafe-inline'\"><meta name=\"viewport\" "
	    "content=\"width=device-width,initial-scale=1\">"
	    "<meta name=\"robots\" content=\"noindex\"><title>",
	    out);
	report_put_escaped(out, db_text(r, 0, 0));
	fprintf(out,
	    "</title><style>%s</style></head><body><main>\n<header><p class=\"soft\">Campaign "
	    "report</p><h1>",
	    embed_cli_data_report_css);
	report_put_escaped(out, db_text(r, 0, 0));
	put_named(out, " <span class=\"badge\">", db_text(r, 0, 2), "</span></h1>\n");
	put_named(out, "<p>", db_text(r, 0, 3), "</p>\n");
	put_named(out, "<p class=\"soft\">run ", db_text(r, 0, 1), "");
	put_named(out, " · stream ", db_text(r, 0, 4), "");
	put_named(out, " · began ", db_text(r, 0, 5), "");
	put_named(out, " · ended ", db_text(r, 0, 6), "");
	put_named(out, " · ", db_text(r, 0, 7), "");
	fputs("</p></header>\n<div class=\"tiles\">\n", out);
	put_tile(out, "Recipients", db_number(r, 0, 20), "&nbsp;");
	put_tile_part(out, "Sent", sent, db_number(r, 0, 20));
	if (delivered > 0)
		put_tile_part(out, "Delivered", delivered, sent);
	else
		fputs("<div><span>Delivered</span><b>–</b><span>no evidence</span></div>\n", out);
	put_tile_part(out, "Bounced later", db_number(r, 0, 16), sent);
	put_tile_part(out, "Complained", db_number(r, 0, 17), sent);
	put_tile_part(out, "Unsubscribed", db_number(r, 0, 18), sent);
	put_tile_part(out, "In doubt", db_number(r, 0, 10), db_number(r, 0, 20));
	fputs("</div>\n", out);
	put_states(p, r);
}

/* ---------------------------------------------------------------- charts */

struct time_axis {
	int64_t first, last; /* seconds */
	int64_t step;	     /* seconds of one bar */
	int bars;
};

static void
clock_text(int64_t seconds, bool with_date, char dst[32])
{
	time_t t = (time_t)seconds;
	struct tm tm;

	(void)gmtime_r(&t, &tm);
	(void)strftime(dst, 32, with_date ? "%m-%d %H:%M" : "%H:%M", &tm);
}

static void
put_axes(FILE *out, const struct time_axis *a, int64_t top)
{
	char text[32], n[32];

	for (int i = 0; i <= 4; i++) {
		int y = 10 + (CHART_HEIGHT - 10) * i / 4;

		fprintf(out, "<line class=\"grid\" x1=\"52\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>",
		    CHART_WIDTH, y, y);
		if (top % 4 == 0 || i == 0 || i == 4)
			fprintf(out, "<text x=\"46\" y=\"%d\" text-anchor=\"end\">%s</text>", y + 4,
			    grouped(top * (4 - i) / 4, n));
	}
	for (int i = 0; i <= 4; i++) {
		int64_t at = a->first + (a->step * a->bars) * i / 4;
		int x = 52 + (CHART_WIDTH - 52) * i / 4;

		clock_text(at, a->last - a->first > 86400, text);
		fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"%s\">%s</text>", x,
		    CHART_HEIGHT + 16,
		    i == 0	 ? "start"
			: i == 4 ? "end"
				 : "middle",
		    text);
	}
}

static void
put_bar(FILE *out, const struct time_axis *a, int64_t top, int64_t at, int64_t sent, int64_t failed)
{
	double width = (double)(CHART_WIDTH - 52) / a->bars;
	double x = 52 + (double)((at - a->first) / a->step) * width;
	double scale = (double)(CHART_HEIGHT - 10) / (double)top;
	double h_sent = (double)sent * scale, h_failed = (double)failed * scale;
	char text[32], n[2][32];

	clock_text(at, true, text);
	fprintf(out, "<g><title>%s UTC: %s sent, %s failed</title>", text, grouped(sent, n[0]),
	    grouped(failed, n[1]));
	if (sent > 0)
		fprintf(out,
		    "<rect class=\"sent\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\"/>",
		    x + width * 0.08, CHART_HEIGHT - h_sent, width * 0.84, h_sent);
	if (failed > 0)
		fprintf(out,
		    "<rect class=\"failed\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\"/>",
		    x + width * 0.08, CHART_HEIGHT - h_sent - h_failed, width * 0.84, h_failed);
	fputs("</g>", out);
}

/* The finest step that needs no more than BUCKETS_MAX bars. */
static void
choose_step(struct time_axis *a)
{
	static const int64_t minutes[] = { 1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 1440, 10080 };

	for (size_t i = 0; i < sizeof(minutes) / sizeof(minutes[0]); i++) {
		a->step = minutes[i] * 60;
		if ((a->last - a->first) / a->step + 1 <= BUCKETS_MAX)
			break;
	}
	if ((a->last - a->first) / a->step + 1 > BUCKETS_MAX)
		a->step = ((a->last - a->first) / BUCKETS_MAX / 86400 + 1) * 86400;
	a->first -= a->first % a->step;
	a->bars = (int)((a->last - a->first) / a->step) + 1;
	if (a->bars < 12)
		a->bars = 12;
}

static int
put_over_time(struct page *p)
{
	static const char range_sql[] =
	    "SELECT extract(epoch FROM min(minute))::bigint, extract(epoch FROM "
	    "max(minute))::bigint "
	    "FROM kairan.tally WHERE run_id = $1 AND (sent <> 0 OR failed <> 0)";
	static const char bars_sql[] =
	    "SELECT (floor(extract(epoch FROM minute) / $2::bigint) * $2::bigint)::bigint, "
	    "greatest(sum(sent), 0)::bigint, greatest(sum(failed), 0)::bigint FROM kairan.tally "
	    "WHERE run_id = $1 AND (sent <> 0 OR failed <> 0) GROUP BY 1 ORDER BY 1";
	struct time_axis a = { 0 };
	char id[24], step[24];
	const char *params[] = { id, step };
	int64_t top = 1;
	PGresult *r = query_run(p->db, range_sql, p->run);

	if (r == NULL)
		return -1;
	a.first = db_number(r, 0, 0);
	a.last = db_number(r, 0, 1);
	PQclear(r);
	if (a.first == 0)
		return 0;
	choose_step(&a);
	(void)snprintf(id, sizeof(id), "%lld", (long long)p->run);
	(void)snprintf(step, sizeof(step), "%lld", (long long)a.step);
	r = db_query(p->db, bars_sql, 2, params);
	if (r == NULL)
		return -1;
	for (int i = 0; i < PQntuples(r); i++)
		if (db_number(r, i, 1) + db_number(r, i, 2) > top)
			top = db_number(r, i, 1) + db_number(r, i, 2);
	top = report_round_up(top);
	(void)snprintf(
	    step, sizeof(step), a.step == 60 ? "minute" : "%lld minutes", (long long)(a.step / 60));
	fprintf(p->out,
	    "<section class=\"panel\"><h2>Sent per %s <span class=\"soft\">(UTC)</span>"
	    "</h2><svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"sent over time\">",
	    step, CHART_WIDTH, CHART_HEIGHT + 22);
	put_axes(p->out, &a, top);
	for (int i = 0; i < PQntuples(r); i++)
		put_bar(
		    p->out, &a, top, db_number(r, i, 0), db_number(r, i, 1), db_number(r, i, 2));
	fputs("</svg></section>\n", p->out);
	PQclear(r);
	return 0;
}

/* A rate on a scale with the lines at which a provider reviews and stops. */
static void
put_gauge(FILE *out, const char *title, double rate, double review, double stop, int digits)
{
	double end = rate > stop * 1.25 ? rate * 1.1 : stop * 1.25;
	double scale = 344.0 / end;
	const char *cls = rate >= stop ? "failed" : rate >= review ? "in_doubt" : "good";

	fprintf(out,
	    "<section class=\"panel\"><h2>%s: %.*f %%</h2><svg viewBox=\"0 0 344 46\" role=\"img\" "
	    "aria-label=\"%s\"><rect class=\"track\" width=\"344\" height=\"14\" y=\"4\" rx=\"4\"/>"
	    "<rect class=\"%s\" width=\"%.2f\" height=\"14\" y=\"4\" rx=\"4\"/>",
	    title, digits, rate, title, cls, rate > 0 ? larger(rate * scale, 2) : 0);
	fprintf(out,
	    "<line class=\"mark\" x1=\"%.1f\" x2=\"%.1f\" y1=\"0\" y2=\"24\"/>"
	    "<text x=\"%.1f\" y=\"38\" text-anchor=\"middle\">%g %% review</text>"
	    "<line class=\"mark\" x1=\"%.1f\" x2=\"%.1f\" y1=\"0\" y2=\"24\"/>"
	    "<text x=\"%.1f\" y=\"38\" text-anchor=\"middle\">%g %% stop</text></svg></section>\n",
	    review * scale, review * scale, larger(review * scale, 36), review, stop * scale,
	    stop * scale, smaller(stop * scale, 312), stop);
}

static int
put_rates(struct page *p)
{
	static const char sql[] =
	    "SELECT count(*) FILTER (WHERE state = 'sent'), count(*) FILTER (WHERE class = 'hard' "
	    "AND "
	    "(bounced_at IS NOT NULL OR state = 'failed')), count(complained_at), "
	    "count(*) FILTER (WHERE state = 'failed' AND class = 'hard') "
	    "FROM kairan.send WHERE run_id = $1";
	PGresult *r = query_run(p->db, sql, p->run);
	int64_t sent, hard, complained, refused;

	if (r == NULL)
		return -1;
	sent = db_number(r, 0, 0);
	hard = db_number(r, 0, 1);
	complained = db_number(r, 0, 2);
	refused = db_number(r, 0, 3);
	PQclear(r);
	fputs("<div class=\"two\">", p->out);
	put_gauge(p->out, "Bounce rate, dead addresses", per_cent(hard, sent + refused), 5, 10, 2);
	put_gauge(p->out, "Complaint rate", per_cent(complained, sent), 0.1, 0.5, 3);
	fputs("</div>\n", p->out);
	return 0;
}

static int
put_reasons(struct page *p)
{
	static const char sql[] = "SELECT concat_ws(', ', replace(coalesce(nullif(reason, ''), 'no "
				  "reason given'), '_', ' '), "
				  "nullif(class, '')), count(*) FROM kairan.send WHERE run_id = $1 "
				  "AND (state IN ('failed', 'expired') OR bounced_at IS NOT NULL) "
				  "GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 12";
	PGresult *r = query_run(p->db, sql, p->run);
	int64_t most;
	char n[32];

	if (r == NULL)
		return -1;
	if (PQntuples(r) > 0) {
		most = db_number(r, 0, 1);
		fprintf(p->out,
		    "<section class=\"panel\"><h2>Why mail did not arrive</h2>"
		    "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"bounce reasons\">",
		    CHART_WIDTH, PQntuples(r) * 26);
		for (int i = 0; i < PQntuples(r); i++) {
			double width =
			    (double)db_number(r, i, 1) / (double)most * (CHART_WIDTH - 320);

			fprintf(p->out,
			    "<text class=\"name\" x=\"224\" y=\"%d\" text-anchor=\"end\">",
			    i * 26 + 17);
			report_put_escaped(p->out, db_text(r, i, 0));
			fprintf(p->out,
			    "</text><rect class=\"failed\" x=\"236\" y=\"%d\" width=\"%.2f\" "
			    "height=\"16\" rx=\"3\"/><text x=\"%.2f\" y=\"%d\">%s</text>",
			    i * 26 + 5, larger(width, 2), 244 + larger(width, 2), i * 26 + 17,
			    grouped(db_number(r, i, 1), n));
		}
		fputs("</svg></section>\n", p->out);
	}
	PQclear(r);
	return 0;
}

/* ---------------------------------------------------------------- tables */

/* first_text columns of text, then numbers; empty cells for NULL. */
static int
put_table(struct page *p, const char *title, const char *sql, int text_columns)
{
	PGresult *r = query_run(p->db, sql, p->run);

	if (r == NULL)
		return -1;
	if (PQntuples(r) > 0) {
		fprintf(p->out,
		    "<section class=\"panel\"><h2>%s</h2><div class=\"wide\"><table><thead><tr>",
		    title);
		for (int c = 0; c < PQnfields(r); c++) {
			fprintf(p->out, "<th%s>", c >= text_columns ? " class=\"n\"" : "");
			report_put_escaped(p->out, PQfname(r, c));
			fputs("</th>", p->out);
		}
		fputs("</tr></thead><tbody>\n", p->out);
		for (int i = 0; i < PQntuples(r); i++) {
			fputs("<tr>", p->out);
			for (int c = 0; c < PQnfields(r); c++) {
				fprintf(p->out, "<td%s>", c >= text_columns ? " class=\"n\"" : "");
				report_put_escaped(p->out, db_text(r, i, c));
				fputs("</td>", p->out);
			}
			fputs("</tr>\n", p->out);
		}
		fputs("</tbody></table></div></section>\n", p->out);
	}
	PQclear(r);
	return 0;
}

#define GROUP_COUNTS                                                                               \
	"to_char(count(*), 'FM999,999,999,999') AS recipients, "                                   \
	"to_char(count(*) FILTER (WHERE state = 'sent'), 'FM999,999,999,999') AS sent, "           \
	"CASE WHEN count(delivered_at) > 0 THEN to_char(count(delivered_at), "                     \
	"'FM999,999,999,999') END AS delivered, "                                                  \
	"to_char(count(*) FILTER (WHERE class = 'hard' AND (bounced_at IS NOT NULL OR "            \
	"state = 'failed')), 'FM999,999,999,999') AS dead, "                                       \
	"to_char(kairan.per_cent(count(*) FILTER (WHERE class = 'hard' AND (bounced_at IS NOT "    \
	"NULL OR state = 'failed')), count(*) FILTER (WHERE state IN ('sent', 'failed'))), "       \
	"'FM990.00') AS \"dead %\", "                                                              \
	"to_char(count(*) FILTER (WHERE class IS DISTINCT FROM 'hard' AND (bounced_at IS NOT "     \
	"NULL OR state IN ('failed', 'expired'))), 'FM999,999,999,999') AS \"other failures\", "   \
	"to_char(count(complained_at), 'FM999,999,999,999') AS complained, "                       \
	"to_char(count(*) FILTER (WHERE state = 'in_doubt'), 'FM999,999,999,999') AS \"in "        \
	"doubt\" "

static int
put_tables(struct page *p)
{
	static const char providers[] =
	    "SELECT coalesce(d.provider, 'other') AS provider, " GROUP_COUNTS "FROM kairan.send s "
	    "LEFT JOIN kairan.provider_domain d ON d.domain = split_part(s.address_key, '@', 2) "
	    "WHERE s.run_id = $1 GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 20";
	static const char domains[] =
	    "SELECT split_part(s.address_key, '@', 2) AS domain, " GROUP_COUNTS
	    "FROM kairan.send s "
	    "WHERE s.run_id = $1 GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 25";
	static const char replies[] =
	    "SELECT t.reply, concat_ws(' ', t.code, t.enhanced) AS code, t.class, "
	    "to_char(sum(t.recipients), 'FM999,999,999,999') AS recipients "
	    "FROM kairan.tally_reply t WHERE t.run_id = $1 AND t.reply <> '' "
	    "GROUP BY 1, 2, 3 HAVING sum(t.recipients) > 0 "
	    "ORDER BY sum(t.recipients) DESC, 1 LIMIT 15";

	static const char engagement[] =
	    "SELECT x.what, to_char(x.people, 'FM999,999,999,999') AS recipients, "
	    "to_char(x.share, 'FM990.0') AS \"of sent %\", "
	    "to_char(x.hits, 'FM999,999,999,999') AS times, "
	    "to_char(x.machines, 'FM999,999,999,999') AS \"machines: recipients\", "
	    "to_char(x.machine_hits, 'FM999,999,999,999') AS \"machines: times\" "
	    "FROM kairan.engagement e, LATERAL (VALUES ('opened', e.opened, e.opened_per_cent, "
	    "e.open_hits, e.opened_by_machine, e.machine_open_hits), ('clicked', e.clicked, "
	    "e.clicked_per_cent, e.click_hits, e.clicked_by_machine, e.machine_click_hits)) "
	    "AS x(what, people, share, hits, machines, machine_hits) "
	    "WHERE e.run_id = $1 AND (e.opened > 0 OR e.clicked > 0 OR e.opened_by_machine > 0 "
	    "OR e.clicked_by_machine > 0)";
	static const char links[] =
	    "SELECT url AS link, to_char(recipients, 'FM999,999,999,999') AS recipients, "
	    "to_char(clicks, 'FM999,999,999,999') AS clicks, "
	    "to_char(machine_clicks, 'FM999,999,999,999') AS \"by machines\" "
	    "FROM kairan.link_clicks WHERE run_id = $1 ORDER BY link_clicks.recipients DESC, url "
	    "LIMIT 50";

	if (put_table(p, "Opens and clicks", engagement, 1) != 0 ||
	    put_table(p, "Links", links, 1) != 0)
		return -1;
	if (put_table(p, "By provider", providers, 1) != 0 ||
	    put_table(p, "By domain (25 largest)", domains, 1) != 0)
		return -1;
	return put_table(p, "What the remote hosts said", replies, 3);
}

int
report_html(struct db *db, int64_t run, FILE *out)
{
	static const char sql[] =
	    "SELECT p.campaign, p.run_key, p.state, t.subject, st.name, "
	    "to_char(p.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI \"UTC\"'), "
	    "to_char(p.finished_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI \"UTC\"'), p.reason, "
	    "p.sent, "
	    "p.failed, p.in_doubt, p.skipped, p.cancelled, p.expired, p.queued + p.sending + "
	    "p.deferred, "
	    "p.delivered, p.bounced, p.complained, p.unsubscribed, p.audience, p.planned, "
	    "to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI \"UTC\"') "
	    "FROM kairan.campaign_progress p JOIN kairan.run r ON r.id = p.run_id "
	    "JOIN kairan.template t ON t.id = r.template_id "
	    "JOIN kairan.campaign c ON c.id = r.campaign_id JOIN kairan.stream st ON st.id = "
	    "c.stream_id "
	    "WHERE p.run_id = $1";
	struct page p = { db, run, out };
	PGresult *r = query_run(db, sql, run);
	int result = 0;

	if (r == NULL)
		return -1;
	if (PQntuples(r) == 0) {
		PQclear(r);
		(void)snprintf(db->error, sizeof(db->error), "there is no such run");
		return -1;
	}
	put_head(&p, r);
	put_excluded(&p);
	if (put_over_time(&p) != 0 || put_rates(&p) != 0 || put_reasons(&p) != 0 ||
	    put_tables(&p) != 0)
		result = -1;
	put_named(out, "<p class=\"soft\">Made by Kairan at ", db_text(r, 0, 21), ".</p>\n");
	fputs("</main></body></html>\n", out);
	PQclear(r);
	return result;
}
