/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audience: two connections, one row at a time. COPY out under the segment role, addr_parse,
 * COPY in under the producer's. The segment's text is one statement of the extended protocol,
 * so it cannot smuggle in a second one.
 *
 * Each row also gets its number j within its domain, from a table of domains of fixed size, so
 * that PostgreSQL need not sort for it. Rows that may turn out to be excluded or duplicates (two
 * Bloom filters know) get none: SQL decides about them exactly, and those that stay are placed
 * at random. Past DOMAINS_MAX domains several share a slot and are spread together; those of a
 * provider never with others.
 *
 * When all are read, lanes are made: one for each provider, one for each large site, and the
 * rest of the domains in POLICY_TAIL_LANES parts. With pace.mx_groups the larger domains of the rest are
 * looked up before (hosted.h).
 *
 * A run that is counted by where its customers come from (origins.h) has that in one more column, the last one.
 */
#include "audience.h"

#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "bloom.h"
#include "buf.h"
#include "customer_field.h"
#include "hosted.h"
#include "log.h"
#include "origins.h"
#include "ses_sandbox.h"
#include "slice.h"
#include "hash.h"

#define FLUSH_BYTES 65536
#define SEGMENT_MAX 65536
#define IDN_MAX 1000 /* different internationalised domains noted per run */
#define DOMAIN_BITS 20
#define DOMAINS_MAX ((size_t)1 << DOMAIN_BITS) /* 16 MB */
#define SEEN_BITS 28			       /* 32 MB: 0.6 % wrong at 10 million addresses */
#define EXCLUDED_BITS 24		       /* 2 MB: 1.5 % wrong at 1 million */

struct domain_slot {
	int64_t hash; /* 0: free */
	uint32_t count;
	int16_t group; /* of the provider table, PROVIDERS_NONE */
	int16_t lane;
	uint8_t zone; /* of its recipients, when the run has quiet hours */
	uint8_t part; /* likewise, when the group leaves by several routes */
};

/* Zones that came by, bad ones with that of the campaign; when there are more, they have it, too. */
#define ZONES_MAX 64
struct zone_name {
	char name[PROVIDERS_NAME_MAX];
	uint8_t zone;
};

/* A domain without a group that has reached POLICY_OWN_MIN recipients, or HOSTED_MIN. */
struct large_site {
	uint32_t slot;
	char *name; /* owned */
};

#define GOLDEN 0.6180339887498949

struct transfer {
	struct db *writer;
	const struct config *config;
	struct db reader;
	struct buf lines; /* for the writer */
	struct buf idn;	  /* U-label TAB A-label LF, for kairan.idn */
	unsigned idn_count;
	char **excluded; /* words of the run's excluded segments */
	int excluded_count;
	struct audience_counts counts;
	struct bloom seen;	    /* address keys that came by */
	struct bloom excluded_keys; /* suppressed, or in an excluded campaign */
	struct ses_sandbox sandbox;
	struct policy *policy;
	bool divides; /* a group leaves by several routes: lanes are by route, too */
	bool quiet;   /* the run has quiet hours: lanes are by time zone, too */
	struct zone_name zones[ZONES_MAX]; /* the first one is the campaign's */
	uint8_t zone_count;
	struct domain_slot *domains; /* DOMAINS_MAX, then one for each part of each group */
	size_t domain_count;
	struct large_site *sites; /* and with pace.mx_groups the not so large ones, of any zone */
	size_t site_count, site_room;
	uint32_t noted_from; /* recipients */
	bool has_origins;
	struct origins origins;
	struct hosted *hosted;
	size_t hosted_count;
};

/* A collision only lets two domains share a rhythm; duplicates are compared by key afterwards. */
static int64_t
hash_bytes(struct slice s)
{
	return (int64_t)hash_spread(hash_slice(HASH_START, s));
}

/* Text for COPY: backslash, tab and line ends escaped. */
static void
append_copy_text(struct buf *b, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '\\' || *text == '\t' || *text == '\n' || *text == '\r') {
			buf_append_char(b, '\\');
			buf_append_char(b,
			    *text == '\t'	? 't'
				: *text == '\n' ? 'n'
				: *text == '\r' ? 'r'
						: '\\');
		} else {
			buf_append_char(b, *text);
		}
	}
}

static void
note_idn(struct transfer *t, struct slice written, const struct addr *a)
{
	const char *at = memchr(written.ptr, '@', written.len);
	struct slice u = slice_make(at + 1, written.len - (size_t)(at + 1 - written.ptr));

	for (size_t i = 0; i < u.len; i++) {
		if ((unsigned char)u.ptr[i] >= 0x80) {
			if (t->idn_count++ < IDN_MAX) {
				buf_append_slice(&t->idn, u);
				buf_append_char(&t->idn, '\t');
				buf_append_slice(&t->idn, addr_domain(a));
				buf_append_char(&t->idn, '\n');
			}
			return;
		}
	}
}

static size_t
slots_of(const struct transfer *t)
{
	return DOMAINS_MAX + providers_count(policy_providers(t->policy)) * ROUTES_PARTS_MAX;
}

/* When the table is full: that of the group, or one that the domain shares with its like. */
static struct domain_slot *
shared_slot(struct transfer *t, int64_t hash, int group, uint8_t part)
{
	size_t i = (uint64_t)hash >> (64 - DOMAIN_BITS);

	if (group != PROVIDERS_NONE) {
		size_t n = (size_t)group * ROUTES_PARTS_MAX + part;
		struct domain_slot *slot = &t->domains[DOMAINS_MAX + n];

		slot->hash = (int64_t)n + 1;
		slot->group = (int16_t)group;
		slot->part = part;
		return slot;
	}
	while (t->domains[i].hash == 0 || t->domains[i].group != PROVIDERS_NONE)
		i = (i + 1) % DOMAINS_MAX;
	return &t->domains[i];
}

/* The slot of a domain; key: of the address, which says by which of several routes it goes. */
static struct domain_slot *
domain_slot(struct transfer *t, struct slice domain, struct slice key, uint8_t zone)
{
	int group =
	    t->divides ? providers_of_domain(policy_providers(t->policy), domain) : PROVIDERS_NONE;
	const struct routes_group *routes = policy_routes(t->policy, group);
	uint8_t part = routes != NULL ? (uint8_t)routes_part(routes, key) : 0;
	uint64_t kind = zone + (uint64_t)part * ZONES_MAX;
	int64_t hash = kind == 0
	    ? hash_bytes(domain)
	    : (int64_t)hash_spread(hash_step(hash_slice(HASH_START, domain), kind));
	size_t i = (uint64_t)hash >> (64 - DOMAIN_BITS);

	if (hash == 0)
		hash = 1;
	for (size_t step = 0; step < DOMAINS_MAX; step++, i = (i + 1) % DOMAINS_MAX) {
		struct domain_slot *slot = &t->domains[i];

		if (slot->hash == hash)
			return slot;
		if (slot->hash != 0)
			continue;
		if (t->domain_count >= DOMAINS_MAX / 4 * 3)
			break;
		t->domain_count++;
		slot->hash = hash;
		slot->zone = zone;
		slot->part = part;
		slot->group = (int16_t)providers_of_domain(policy_providers(t->policy), domain);
		return slot;
	}
	return shared_slot(t, hash, providers_of_domain(policy_providers(t->policy), domain), part);
}

static int
note_site(struct transfer *t, const struct domain_slot *slot, struct slice domain)
{
	if (t->site_count == t->site_room) {
		size_t room = t->site_room > 0 ? 2 * t->site_room : 64;
		struct large_site *sites = realloc(t->sites, room * sizeof(*sites));

		if (sites == NULL)
			return -1;
		t->sites = sites;
		t->site_room = room;
	}
	t->sites[t->site_count] = (struct large_site){ .slot = (uint32_t)(slot - t->domains),
		.name = strndup(domain.ptr, domain.len) };
	return t->sites[t->site_count++].name != NULL ? 0 : -1;
}

/* domain TAB j, j being \N when it is left to SQL. */
static int
place_row(struct transfer *t, const struct addr *a, uint8_t zone, bool excluded, struct err *err)
{
	int64_t key = hash_bytes(slice_make(a->key, a->len));
	struct domain_slot *slot = domain_slot(t, addr_domain(a), slice_make(a->key, a->len), zone);
	bool seen = bloom_add(&t->seen, (uint64_t)key);

	buf_append_uint(&t->lines, (uint64_t)(slot - t->domains));
	buf_append_char(&t->lines, '\t');
	if (seen || excluded || bloom_has(&t->excluded_keys, (uint64_t)key)) {
		buf_append_str(&t->lines, "\\N");
		return 0;
	}
	buf_append_uint(&t->lines, slot->count++);
	if (slot->count == t->noted_from && slot->group == PROVIDERS_NONE &&
	    note_site(t, slot, addr_domain(a)) < 0)
		return err_set(err, "no memory");
	return 0;
}

/* The zone in the last column, behind tab2 and the number: its number, 0 for the campaign's. */
static uint8_t
zone_of(struct transfer *t, struct slice line, const char *tab2)
{
	const char *end = line.ptr + line.len;
	const char *tab3 = memchr(tab2 + 1, '\t', (size_t)(end - tab2 - 1));
	struct zone_name *z = &t->zones[t->zone_count];
	struct err err = { 0 };
	size_t n = tab3 != NULL ? (size_t)(end - tab3 - 1) : 0;

	if (n == 0 || n >= sizeof(z->name) || tab3[1] == '\\') /* \N: he has none */
		return 0;
	for (uint8_t i = 0; i < t->zone_count; i++)
		if (strncmp(t->zones[i].name, tab3 + 1, n) == 0 && t->zones[i].name[n] == '\0')
			return t->zones[i].zone;
	if (t->zone_count == ZONES_MAX)
		return 0;
	(void)snprintf(z->name, sizeof(z->name), "%.*s", (int)n, tab3 + 1);
	z->zone = policy_zone_named(t->policy, z->name, &err) != NULL ? t->zone_count : 0;
	if (z->zone == 0)
		log_warn(
		    "customers have a time zone that is not known, taken for %s", t->zones[0].name);
	t->zone_count++;
	return z->zone;
}

/* Takes the last column off the line of a run with origins: its number, 0 for a run without, -1 without memory. */
static int
take_origin(struct transfer *t, struct slice *line)
{
	const char *tab = t->has_origins ? memrchr(line->ptr, '\t', line->len) : NULL;
	struct slice value;

	if (tab == NULL)
		return 0;
	value = slice_make(tab + 1, line->len - (size_t)(tab + 1 - line->ptr));
	line->len = (size_t)(tab - line->ptr);
	return origins_number(&t->origins, value);
}

static void
end_line(struct transfer *t, int origin)
{
	if (t->has_origins) {
		buf_append_char(&t->lines, '\t');
		buf_append_uint(&t->lines, (uint64_t)origin);
	}
	buf_append_char(&t->lines, '\n');
}

/* One line of the segment's COPY: id TAB email TAB number of the excluded segment, 0 if none; with
 * quiet hours TAB time zone; with origins TAB origin. */
static int
take_row(struct transfer *t, struct slice line, struct err *err)
{
	int origin = take_origin(t, &line);
	const char *tab1 = memchr(line.ptr, '\t', line.len), *tab2;
	struct slice id, email;
	struct addr a;
	struct err why = { 0 };
	bool unverified;
	int excluded;

	tab2 =
	    tab1 != NULL ? memchr(tab1 + 1, '\t', line.len - (size_t)(tab1 + 1 - line.ptr)) : NULL;
	if (origin < 0)
		return err_set(err, "no memory");
	if (tab2 == NULL)
		return err_set(err, "PostgreSQL gave a row that is not understood");
	id = slice_make(line.ptr, (size_t)(tab1 - line.ptr));
	email = slice_trim(slice_make(tab1 + 1, (size_t)(tab2 - tab1 - 1)));
	excluded = atoi(tab2 + 1);
	t->counts.matched++;
	buf_append_slice(&t->lines, id);
	if (memchr(email.ptr, '\\', email.len) != NULL)
		(void)err_set(&why,
		    email.len == 2 && email.ptr[1] == 'N' ? "no address"
							  : "character '\\' is not allowed");
	if (why.msg[0] != '\0' || addr_parse(&a, email, &why) < 0) {
		t->counts.invalid++;
		buf_append_str(&t->lines, "\t\\N\t\\N\t0\t\\N\t");
		append_copy_text(&t->lines, why.msg);
		end_line(t, origin);
		return 0;
	}
	note_idn(t, email, &a);
	buf_append_char(&t->lines, '\t');
	if (memcmp(a.text, a.key, a.len) == 0) /* mostly: not said twice */
		buf_append_str(&t->lines, "\\N");
	else
		buf_append(&t->lines, a.text, a.len);
	buf_append_char(&t->lines, '\t');
	buf_append(&t->lines, a.key, a.len);
	buf_append_char(&t->lines, '\t');
	unverified = !ses_sandbox_allows(&t->sandbox, &a);
	if (place_row(
		t, &a, t->quiet ? zone_of(t, line, tab2) : 0, excluded > 0 || unverified, err) < 0)
		return -1;
	buf_append_char(&t->lines, '\t');
	if (excluded > 0 && excluded <= t->excluded_count) {
		buf_append_str(&t->lines, "segment: ");
		append_copy_text(&t->lines, t->excluded[excluded - 1]);
	} else if (unverified) {
		buf_append_str(&t->lines,
		    SES_SANDBOX_NOTE "neither address nor domain is verified at Amazon SES in ");
		append_copy_text(&t->lines, t->sandbox.region);
	} else {
		buf_append_str(&t->lines, "\\N");
	}
	end_line(t, origin);
	return 0;
}

static int
flush(struct transfer *t, struct err *err)
{
	if (buf_failed(&t->lines))
		return err_set(err, "no memory");
	if (t->lines.len > 0 &&
	    PQputCopyData(t->writer->conn, t->lines.data, (int)t->lines.len) != 1)
		return err_set(err, "cannot write candidates: %s", PQerrorMessage(t->writer->conn));
	buf_reset(&t->lines);
	return 0;
}

static int
pump(struct transfer *t, struct err *err)
{
	char *row = NULL;
	int n, result = 0;

	while (result == 0 && (n = PQgetCopyData(t->reader.conn, &row, 0)) > 0) {
		struct slice line = slice_make(row, (size_t)n);

		if (line.len > 0 && line.ptr[line.len - 1] == '\n')
			line.len--;
		result = take_row(t, line, err);
		PQfreemem(row);
		row = NULL;
		if (result == 0 && t->lines.len >= FLUSH_BYTES)
			result = flush(t, err);
	}
	if (result == 0 && n == -2)
		result = err_set(err, "reading customers: %s", PQerrorMessage(t->reader.conn));
	return result == 0 ? flush(t, err) : result;
}

/* Result of the COPY statement just ended on this connection. */
static int
copy_result(PGconn *conn, const char *doing, struct err *err)
{
	PGresult *r;
	int result = 0;

	while ((r = PQgetResult(conn)) != NULL) {
		if (PQresultStatus(r) != PGRES_COMMAND_OK) {
			const char *why = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);

			result =
			    err_set(err, "%s: %s", doing, why != NULL ? why : PQerrorMessage(conn));
		}
		PQclear(r);
	}
	return result;
}

/* Whether the run has quiet hours, and the column of the query with the time zone then. */
static int
read_quiet(struct transfer *t, int run, struct buf *zone, struct err *err)
{
	char number[16];
	const char *params[] = { number };
	PGresult *r;
	int result = 0;

	(void)snprintf(number, sizeof(number), "%d", run);
	r = db_query(t->writer,
	    "SELECT c.time_zone, c.zone_field, (SELECT string_agg(attname, E'\\n') FROM "
	    "pg_attribute WHERE attrelid = 'kairan.customer'::regclass AND attnum > 0 AND NOT "
	    "attisdropped) FROM kairan.run r JOIN kairan.campaign c ON c.id = r.campaign_id WHERE "
	    "r.id = $1 AND c.quiet_from IS NOT NULL",
	    1, params);
	if (r == NULL)
		return err_set(err, "reading the quiet hours: %s", t->writer->error);
	t->quiet = PQntuples(r) == 1;
	if (t->quiet) {
		(void)snprintf(t->zones[0].name, sizeof(t->zones[0].name), "%s", db_text(r, 0, 0));
		t->zone_count = 1;
		if (policy_zone_named(t->policy, t->zones[0].name, err) == NULL)
			result = -1;
		buf_append_str(zone, ", ");
		customer_field_sql(zone, db_text(r, 0, 2), "c", slice_str(db_text(r, 0, 1)), false);
	}
	PQclear(r);
	return result;
}

/* Whether the run is counted by origin, and the column of the query with it then, behind the others. */
static int
read_origins(struct transfer *t, int run, struct buf *columns, struct err *err)
{
	char number[16];
	const char *params[] = { number };
	PGresult *r;

	(void)snprintf(number, sizeof(number), "%d", run);
	r = db_query(t->writer,
	    "SELECT c.origin_field, (SELECT string_agg(attname, E'\\n') FROM pg_attribute WHERE "
	    "attrelid = 'kairan.customer'::regclass AND attnum > 0 AND NOT attisdropped) FROM "
	    "kairan.run r JOIN kairan.campaign c ON c.id = r.campaign_id WHERE r.id = $1 AND "
	    "c.origin_field <> ''",
	    1, params);
	if (r == NULL)
		return err_set(err, "reading the campaign: %s", t->writer->error);
	t->has_origins = PQntuples(r) == 1;
	if (t->has_origins) {
		buf_append_str(columns, ", ");
		customer_field_sql(
		    columns, db_text(r, 0, 1), "c", slice_str(db_text(r, 0, 0)), false);
	}
	PQclear(r);
	return 0;
}

/* In the transaction of the fence. */
static int
begin_origins(struct transfer *t, int run, struct err *err)
{
	char number[16];
	const char *params[] = { number };

	(void)snprintf(number, sizeof(number), "%d", run);
	if (db_run(t->writer, "DELETE FROM kairan.run_origin WHERE run_id = $1", 1, params) < 0 ||
	    (t->has_origins && db_run(t->writer, "SELECT kairan.origin_begin($1)", 1, params) < 0))
		return err_set(err, "preparing the origins: %s", t->writer->error);
	return 0;
}

/* The run's segment and excluded segments, names replaced by their conditions. */
static int
build_query(struct transfer *t, int run, const char *columns, struct buf *sql, struct err *err)
{
	static const char find[] =
	    "SELECT coalesce((SELECT condition FROM kairan.segment s WHERE s.name = c.segment), "
	    "c.segment), NULL "
	    "FROM kairan.run r JOIN kairan.campaign c ON c.id = r.campaign_id WHERE r.id = $1 "
	    "UNION ALL SELECT coalesce((SELECT condition FROM kairan.segment s WHERE s.name = x), "
	    "x), x "
	    "FROM kairan.run r JOIN kairan.campaign c ON c.id = r.campaign_id, "
	    "unnest(c.exclude_segments) AS x WHERE r.id = $1";
	char number[16];
	const char *params[] = { number };
	PGresult *r;
	int rows;

	(void)snprintf(number, sizeof(number), "%d", run);
	r = db_query(t->writer, find, 1, params);
	if (r == NULL)
		return err_set(err, "reading the segment: %s", t->writer->error);
	rows = PQntuples(r);
	t->excluded = calloc((size_t)rows + 1, sizeof(char *));
	buf_append_str(sql, "COPY (SELECT c.id, c.email, CASE");
	for (int i = 1; i < rows && t->excluded != NULL; i++) {
		buf_printf(sql, " WHEN (%s\n) THEN %d", db_text(r, i, 0), i);
		t->excluded[t->excluded_count++] = strdup(db_text(r, i, 1));
	}
	buf_printf(sql, "%s%s FROM kairan.customer c WHERE (%s\n)) TO STDOUT",
	    rows > 1 ? " ELSE 0 END" : " WHEN true THEN 0 END", columns,
	    rows > 0 ? db_text(r, 0, 0) : "false");
	PQclear(r);
	if (t->excluded == NULL || buf_failed(sql))
		return err_set(err, "the segment is longer than %d bytes", SEGMENT_MAX);
	return 0;
}

static int
open_reader(
    struct transfer *t, const struct config *config, const char *sql, bool *lost, struct err *err)
{
	char setting[200];
	PGresult *r;

	if (db_open(&t->reader, config->database_url, "kairan_producer", "kairan-producer segment",
		err) < 0) {
		*lost = true;
		return -1;
	}
	(void)snprintf(setting, sizeof(setting), "SET LOCAL statement_timeout = '%lds'",
	    config->producer_segment_timeout_s);
	if (db_run(&t->reader, "BEGIN TRANSACTION READ ONLY", 0, NULL) < 0 ||
	    db_run(&t->reader, "SET LOCAL ROLE kairan_segment", 0, NULL) < 0 ||
	    db_run(&t->reader, setting, 0, NULL) < 0)
		return err_set(err, "cannot become kairan_segment: %s", t->reader.error);
	r = db_query(&t->reader, sql, 0, NULL);
	if (r == NULL) {
		*lost = db_is_lost(&t->reader);
		return err_set(err, "segment: %s", t->reader.error);
	}
	PQclear(r);
	return 0;
}

/* Address keys that this run must not or may not mail, as far as a filter can hold them. */
static int
load_excluded(struct transfer *t, int run, struct err *err)
{
	char sql[400], *row = NULL;
	PGresult *r;
	int n;

	(void)snprintf(sql, sizeof(sql),
	    "COPY (SELECT address_key FROM kairan.suppression UNION ALL SELECT s.address_key "
	    "FROM kairan.run mine JOIN kairan.campaign c ON c.id = mine.campaign_id "
	    "JOIN kairan.campaign o ON o.name = ANY (c.exclude_campaigns) "
	    "JOIN kairan.run r ON r.campaign_id = o.id AND r.id <> mine.id "
	    "JOIN kairan.send s ON s.run_id = r.id WHERE mine.id = %d) TO STDOUT",
	    run);
	r = db_query(t->writer, sql, 0, NULL);
	if (r == NULL)
		return err_set(err, "reading what is excluded: %s", t->writer->error);
	PQclear(r);
	while ((n = PQgetCopyData(t->writer->conn, &row, 0)) > 0) {
		/* an address key has nothing that COPY would escape */
		(void)bloom_add(
		    &t->excluded_keys, (uint64_t)hash_bytes(slice_make(row, (size_t)n - 1)));
		PQfreemem(row);
	}
	return copy_result(t->writer->conn, "reading what is excluded", err);
}

static int
open_copy(struct transfer *t, const char *table, int run, struct err *err)
{
	char sql[100];
	PGresult *r;

	(void)snprintf(sql, sizeof(sql), "COPY kairan.%s_%d FROM STDIN", table, run);
	r = db_query(t->writer, sql, 0, NULL);
	if (r == NULL)
		return err_set(err, "writing candidates: %s", t->writer->error);
	PQclear(r);
	return 0;
}

static int
close_copy(struct transfer *t, struct err *err)
{
	if (PQputCopyEnd(t->writer->conn, NULL) != 1)
		return err_set(err, "writing candidates: %s", PQerrorMessage(t->writer->conn));
	return copy_result(t->writer->conn, "writing candidates", err);
}

/* Larger domains first; ties by hash, so that the order is always the same. */
static int
compare_domains(const void *a, const void *b, void *ctx)
{
	const struct domain_slot *domains = ctx;
	const struct domain_slot *x = &domains[*(const uint32_t *)a],
				 *y = &domains[*(const uint32_t *)b];

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return (x->hash > y->hash) - (x->hash < y->hash);
}

/* ---- lanes */

struct lanes {
	int16_t of_group[ZONES_MAX][PROVIDERS_GROUPS_MAX][ROUTES_PARTS_MAX]; /* 0: none yet */
	int16_t of_tail[ZONES_MAX][POLICY_TAIL_LANES];
	int16_t count;
};

static int
add_lane(struct transfer *t, struct lanes *l, int run, const char *name, int group, bool tail,
    uint8_t zone, const char *route, int16_t *lane, struct err *err)
{
	const struct providers *p = policy_providers(t->policy);
	char number[16], text[8];
	const char *params[] = { number, text, name, NULL,
		t->quiet || policy_is_paced(t->policy, group, tail) ? "t" : "f",
		t->quiet ? t->zones[zone].name : "", route };

	*lane = ++l->count;
	params[3] = providers_group(p, group)->name;
	(void)snprintf(number, sizeof(number), "%d", run);
	(void)snprintf(text, sizeof(text), "%d", *lane);
	if (db_run(t->writer,
		"INSERT INTO kairan.run_lane (run_id, lane, name, provider, paced, time_zone, "
		"route) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		7, params) < 0)
		return err_set(err, "writing lanes: %s", t->writer->error);
	return 0;
}

/* "" for those that have none. */
static const char *
route_of(const struct transfer *t, const struct domain_slot *slot)
{
	const struct routes_group *g = policy_routes(t->policy, slot->group);

	return g != NULL ? routes_part_name(policy_ways(t->policy), g, slot->part) : "";
}

/* The group, behind it the time zone, and the route when the group has several. */
static void
lane_name(
    const struct transfer *t, const struct domain_slot *slot, size_t tail, char *name, size_t size)
{
	const struct routes_group *g = policy_routes(t->policy, slot->group);
	const char *route = g != NULL && g->part_count > 1 ? route_of(t, slot) : "";
	const char *zone = slot->zone > 0 ? t->zones[slot->zone].name : "";

	if (slot->group != PROVIDERS_NONE)
		(void)snprintf(name, size, "%s%s%s%s%s",
		    providers_group(policy_providers(t->policy), slot->group)->name,
		    zone[0] != '\0' ? " " : "", zone, route[0] != '\0' ? " " : "", route);
	else if (slot->zone > 0)
		(void)snprintf(name, size, "tail-%s", zone);
	else
		(void)snprintf(name, size, "tail-%02zu", tail);
}

/* The lane of a slot that no large site's lane is for. */
static int
lane_of(struct transfer *t, struct lanes *l, int run, struct domain_slot *slot, struct err *err)
{
	const struct providers *p = policy_providers(t->policy);
	size_t part = slot->zone == 0 ? (uint64_t)slot->hash % POLICY_TAIL_LANES : 0;
	char name[2 * PROVIDERS_NAME_MAX + ROUTES_NAME_MAX + 8];
	int16_t *lane = slot->group != PROVIDERS_NONE
	    ? &l->of_group[slot->zone][slot->group][slot->part]
	    : &l->of_tail[slot->zone][part];

	lane_name(t, slot, part, name, sizeof(name));
	if (*lane == 0 &&
	    add_lane(t, l, run, name,
		slot->group != PROVIDERS_NONE ? slot->group : providers_unknown(p),
		slot->group == PROVIDERS_NONE, slot->zone, route_of(t, slot), lane, err) < 0)
		return -1;
	slot->lane = *lane;
	return 0;
}

/* Where the larger domains have their mail that the table does not name. */
static int
find_hosted(struct transfer *t, uint64_t own, struct err *err)
{
	struct hosted_search search = { .db = t->writer,
		.config = t->config,
		.table = policy_providers(t->policy),
		.site_min = own,
		.keep = true };

	t->hosted = calloc(t->site_count + 1, sizeof(*t->hosted));
	for (; t->hosted != NULL && t->hosted_count < t->site_count; t->hosted_count++) {
		const struct large_site *site = &t->sites[t->hosted_count];
		const struct domain_slot *slot = &t->domains[site->slot];

		t->hosted[t->hosted_count] = (struct hosted){ .domain = strdup(site->name),
			.recipients = slot->count,
			.may_share = slot->zone == 0 && slot->count < own,
			.place = site->slot };
		if (t->hosted[t->hosted_count].domain == NULL)
			return err_set(err, "no memory");
	}
	if (t->hosted == NULL)
		return err_set(err, "no memory");
	if (hosted_find(&search, t->hosted, t->hosted_count, err) < 0)
		return -1;
	for (size_t i = 0; i < t->hosted_count; i++) {
		struct domain_slot *slot = &t->domains[t->hosted[i].place];
		const struct routes_group *g = policy_routes(t->policy, t->hosted[i].group);

		slot->group = (int16_t)t->hosted[i].group;
		if (g != NULL) /* the whole domain */
			slot->part = (uint8_t)routes_part(g, slice_str(t->hosted[i].domain));
	}
	return 0;
}

/* One for each site that several domains share. */
static int
make_site_lanes(struct transfer *t, struct lanes *l, int run, struct err *err)
{
	int unknown = providers_unknown(policy_providers(t->policy));
	int16_t lane = 0;

	for (size_t i = 0; i < t->hosted_count && t->hosted[i].site != NULL; i++) {
		const struct hosted *h = &t->hosted[i];

		if ((i == 0 || strcmp(h->site, t->hosted[i - 1].site) != 0) &&
		    add_lane(t, l, run, h->site, unknown, false, 0, "", &lane, err) < 0)
			return -1;
		t->domains[h->place].lane = lane;
	}
	return 0;
}

static int
note_hosted(struct transfer *t, const struct lanes *l, const char *run, struct err *err)
{
	uint64_t *counts = calloc((size_t)l->count + 1, sizeof(*counts));
	int result = counts != NULL ? 0 : err_set(err, "no memory");

	for (size_t i = 0; counts != NULL && i < t->hosted_count; i++)
		if (t->hosted[i].group != PROVIDERS_NONE || t->hosted[i].site != NULL)
			counts[t->domains[t->hosted[i].place].lane] += t->hosted[i].recipients;
	for (int lane = 1; result == 0 && lane <= l->count; lane++) {
		char number[16], count[24];
		const char *params[] = { run, number, count };

		(void)snprintf(number, sizeof(number), "%d", lane);
		(void)snprintf(count, sizeof(count), "%llu", (unsigned long long)counts[lane]);
		if (counts[lane] > 0 &&
		    db_run(t->writer,
			"UPDATE kairan.run_lane SET by_mx = $3 WHERE run_id = $1 AND lane = $2", 3,
			params) < 0)
			result = err_set(err, "writing lanes: %s", t->writer->error);
	}
	free(counts);
	return result;
}

/* One for each domain that is large enough. */
static int
make_domain_lanes(struct transfer *t, struct lanes *l, int run, uint64_t own, struct err *err)
{
	int unknown = providers_unknown(policy_providers(t->policy));

	for (size_t i = 0; i < t->site_count; i++) {
		struct domain_slot *slot = &t->domains[t->sites[i].slot];

		if (slot->count >= own && slot->zone == 0 && slot->group == PROVIDERS_NONE &&
		    add_lane(t, l, run, t->sites[i].name, unknown, false, 0, "", &slot->lane, err) <
			0)
			return -1;
	}
	return 0;
}

/* ranked: slots by size. */
static int
make_lanes(struct transfer *t, int run, const uint32_t *ranked, size_t count, struct err *err)
{
	struct lanes *l = calloc(1, sizeof(*l));
	uint64_t all = 0, own;
	char number[16];
	const char *params[] = { number };
	int result = -1;

	(void)snprintf(number, sizeof(number), "%d", run);
	if (l == NULL)
		return err_set(err, "no memory");
	if (db_run(t->writer, "DELETE FROM kairan.run_lane WHERE run_id = $1", 1, params) < 0) {
		(void)err_set(err, "writing lanes: %s", t->writer->error);
		goto out;
	}
	for (size_t i = 0; i < count; i++)
		all += t->domains[ranked[i]].count;
	own = policy_site_min(all);
	if ((hosted_wanted(t->config) && find_hosted(t, own, err) < 0) ||
	    make_domain_lanes(t, l, run, own, err) < 0 || make_site_lanes(t, l, run, err) < 0)
		goto out;
	for (size_t i = 0; i < count; i++)
		if (t->domains[ranked[i]].lane == 0 &&
		    lane_of(t, l, run, &t->domains[ranked[i]], err) < 0)
			goto out;
	result = note_hosted(t, l, number, err);
out:
	free(l);
	return result;
}

/* Domains with the number of their recipients, their phase (frac(rank in the lane * golden
 * ratio)) and their lane. */
static int
save_domains(struct transfer *t, int run, struct err *err)
{
	size_t slots = slots_of(t), n = 0;
	uint32_t *ranked = calloc(slots, sizeof(*ranked));
	uint32_t *rank = calloc(INT16_MAX, sizeof(*rank));
	int result = -1;

	for (size_t i = 0; ranked != NULL && i < slots; i++)
		if (t->domains[i].hash != 0)
			ranked[n++] = (uint32_t)i;
	if (ranked == NULL || rank == NULL) {
		(void)err_set(err, "no memory");
		goto out;
	}
	qsort_r(ranked, n, sizeof(*ranked), compare_domains, t->domains);
	if (make_lanes(t, run, ranked, n, err) < 0 || open_copy(t, "domain", run, err) < 0)
		goto out;
	for (size_t i = 0; i < n; i++) {
		const struct domain_slot *slot = &t->domains[ranked[i]];
		double phase = (double)++rank[slot->lane] * GOLDEN;

		phase -= (double)(uint64_t)phase;
		buf_printf(
		    &t->lines, "%u\t%u\t%.15g\t%d\n", ranked[i], slot->count, phase, slot->lane);
		if (t->lines.len >= FLUSH_BYTES && flush(t, err) < 0)
			goto out;
	}
	result = flush(t, err) < 0 ? -1 : close_copy(t, err);
out:
	free(ranked);
	free(rank);
	return result;
}

static int
transfer_init(struct transfer *t, struct err *err)
{
	buf_init(&t->lines, (size_t)1 << 20);
	buf_init(&t->idn, (size_t)1 << 20);
	t->domains = calloc(slots_of(t), sizeof(*t->domains));
	if (!bloom_init(&t->seen, SEEN_BITS) || !bloom_init(&t->excluded_keys, EXCLUDED_BITS) ||
	    t->domains == NULL)
		return err_set(err, "no memory");
	return 0;
}

static void
transfer_release(struct transfer *t)
{
	db_close(&t->reader);
	for (int i = 0; i < t->excluded_count; i++)
		free(t->excluded[i]);
	free(t->excluded);
	buf_release(&t->lines);
	buf_release(&t->idn);
	bloom_release(&t->seen);
	bloom_release(&t->excluded_keys);
	ses_sandbox_release(&t->sandbox);
	free(t->domains);
	for (size_t i = 0; i < t->site_count; i++)
		free(t->sites[i].name);
	free(t->sites);
	hosted_release(t->hosted, t->hosted_count);
	origins_release(&t->origins);
}

static void
save_idn(struct transfer *t)
{
	static const char insert[] =
	    "INSERT INTO kairan.idn SELECT DISTINCT ON (1) lower(split_part(l, E'\\t', 1)), "
	    "split_part(l, E'\\t', 2) FROM regexp_split_to_table($1, E'\\n') AS l WHERE l <> '' "
	    "ON CONFLICT DO NOTHING";
	const char *params[] = { buf_str(&t->idn) };

	if (t->idn.len > 0 && !buf_failed(&t->idn) && db_run(t->writer, insert, 1, params) < 0)
		log_warn("internationalised domains not noted error=\"%s\"", t->writer->error);
}

static int
load_sandbox(struct transfer *t, const struct config *config, struct err *err)
{
	return ses_sandbox_read(&t->sandbox, t->writer, config) < 0
	    ? err_set(err, "reading the sandbox: %s", t->writer->error)
	    : 0;
}

int
audience_read(struct db *writer, const struct config *config, struct policy *policy, int run,
    struct audience_counts *counts, bool *lost, struct err *err)
{
	struct transfer t = { .writer = writer,
		.config = config,
		.policy = policy,
		.divides = policy_divides(policy),
		.noted_from = hosted_wanted(config) ? HOSTED_MIN : POLICY_OWN_MIN };
	struct buf sql, columns;
	int result = -1;

	*lost = false;
	buf_init(&sql, SEGMENT_MAX);
	buf_init(&columns, 4096);
	if (transfer_init(&t, err) < 0 || read_quiet(&t, run, &columns, err) < 0 ||
	    read_origins(&t, run, &columns, err) < 0 || begin_origins(&t, run, err) < 0 ||
	    build_query(&t, run, buf_str(&columns), &sql, err) < 0 ||
	    load_excluded(&t, run, err) < 0 || load_sandbox(&t, config, err) < 0 ||
	    open_reader(&t, config, buf_str(&sql), lost, err) < 0 ||
	    open_copy(&t, "candidate", run, err) < 0)
		goto out;
	if (pump(&t, err) < 0) {
		(void)PQputCopyEnd(writer->conn, "reading failed");
		(void)copy_result(writer->conn, "writing candidates", NULL);
		*lost = PQstatus(t.reader.conn) != CONNECTION_OK;
		goto out;
	}
	if (close_copy(&t, err) < 0 || copy_result(t.reader.conn, "segment", err) < 0 ||
	    save_domains(&t, run, err) < 0 || origins_save(&t.origins, writer, run, err) < 0)
		goto out;
	save_idn(&t);
	*counts = t.counts;
	result = 0;
out:
	transfer_release(&t);
	buf_release(&sql);
	buf_release(&columns);
	return result;
}
