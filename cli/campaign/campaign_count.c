/* SPDX-License-Identifier: Apache-2.0 */
/*
 * campaign_count: see campaign_count.h. Addresses are compared by 64 bits of hash: among 10
 * million one pair is taken for twins with a chance of 3 in a million.
 */
#include "campaign_count.h"

#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "buf.h"
#include "campaign_lookup.h"
#include "customer_field.h"
#include "hosted.h"
#include "hash.h"
#include "ses_sandbox.h"

#define SQL_MAX ((size_t)1 << 20)
#define TIMEOUT "30min"
#define SEGMENT_ROW "COPY (SELECT c.email, CASE"

/* Hashes of addresses; 0 stands for a free place. */
struct keyset {
	uint64_t *keys; /* owned */
	size_t room, count;
};

struct counting {
	struct campaign_count *c;
	struct db *db;
	const struct campaign_file *file;
	struct policy *policy;
	struct keyset out[COUNT_RULES]; /* suppressed and the like, by rule */
	struct keyset seen;
	struct ses_sandbox sandbox;
	struct arena arena;
	struct err *err;
};

static const char *const rule_names[COUNT_RULES] = { "invalid_address", "excluded_segment",
	"bounced", "complained", "unsubscribed", "suppressed", "excluded_campaign",
	"unverified_sandbox", "duplicate_address" };

const char *
count_rule_name(enum count_rule rule)
{
	return rule_names[rule];
}

static uint64_t
hash_key(struct slice s)
{
	uint64_t h = hash_spread(hash_slice(HASH_START, s));

	return h != 0 ? h : 1;
}

static size_t
place_of(const struct keyset *s, uint64_t key)
{
	size_t i = key & (s->room - 1);

	while (s->keys[i] != 0 && s->keys[i] != key)
		i = (i + 1) & (s->room - 1);
	return i;
}

static bool
keyset_has(const struct keyset *s, uint64_t key)
{
	return s->room > 0 && s->keys[place_of(s, key)] == key;
}

/* 1 when it is new, 0 when it was there, -1 without memory. */
static int
keyset_add(struct keyset *s, uint64_t key)
{
	size_t i;

	if (2 * (s->count + 1) > s->room) {
		struct keyset larger = { .room = s->room > 0 ? 2 * s->room : 1024 };

		larger.keys = calloc(larger.room, sizeof(*larger.keys));
		if (larger.keys == NULL)
			return -1;
		for (i = 0; i < s->room; i++)
			if (s->keys[i] != 0)
				larger.keys[place_of(&larger, s->keys[i])] = s->keys[i];
		larger.count = s->count;
		free(s->keys);
		*s = larger;
	}
	i = place_of(s, key);
	if (s->keys[i] == key)
		return 0;
	s->keys[i] = key;
	s->count++;
	return 1;
}

static int
failed(const struct counting *n)
{
	return err_set(n->err, "%s", n->db->error);
}

/* ---- one COPY ---- */

/* Gives each line to `take`. The statement has nothing of an operator but conditions. */
static int
copy_out(struct counting *n, const char *sql, int (*take)(struct counting *, struct slice))
{
	PGresult *r = db_query(n->db, sql, 0, NULL);
	char *row = NULL;
	int got = 0, result = 0;

	if (r == NULL)
		return failed(n);
	PQclear(r);
	while (result == 0 && (got = PQgetCopyData(n->db->conn, &row, 0)) > 0) {
		result = take(n, slice_make(row, (size_t)got - (row[got - 1] == '\n')));
		PQfreemem(row);
	}
	if (result != 0)
		return -1; /* the caller closes the connection */
	while ((r = PQgetResult(n->db->conn)) != NULL) {
		const char *why = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);

		if (PQresultStatus(r) != PGRES_COMMAND_OK)
			result =
			    err_set(n->err, "%s", why != NULL ? why : PQerrorMessage(n->db->conn));
		PQclear(r);
	}
	return got == -2 && result == 0 ? err_set(n->err, "the connection was lost") : result;
}

/* ---- who is left out ---- */

/* rule TAB key */
static int
take_excluded(struct counting *n, struct slice line)
{
	const char *tab = memchr(line.ptr, '\t', line.len);
	int rule = tab != NULL ? atoi(line.ptr) : -1;

	if (rule < 0 || rule >= COUNT_RULES)
		return err_set(n->err, "PostgreSQL gave a row that is not understood");
	if (keyset_add(&n->out[rule],
		hash_key(slice_make(tab + 1, line.len - (size_t)(tab + 1 - line.ptr)))) < 0)
		return err_set(n->err, "no memory");
	return 0;
}

/* What plan_stage() asks of suppressions and excluded campaigns. */
static int
read_excluded(struct counting *n)
{
	const struct campaign_file *f = n->file;
	struct buf sql;
	int result;

	buf_init(&sql, SQL_MAX);
	/* names of streams, lists and campaigns have no quotation marks */
	buf_printf(&sql,
	    "COPY (SELECT CASE reason WHEN 'bounce' THEN %d WHEN 'complaint' THEN %d WHEN "
	    "'unsubscribe' THEN %d ELSE %d END, address_key FROM kairan.suppression WHERE scope IN "
	    "('all', 'stream:%s', 'list:%s') AND (expires_at IS NULL OR expires_at > now())",
	    COUNT_BOUNCED, COUNT_COMPLAINED, COUNT_UNSUBSCRIBED, COUNT_SUPPRESSED, f->stream,
	    f->list[0] != '\0' ? f->list : f->stream);
	for (size_t i = 0; i < f->exclude_campaigns.count; i++)
		buf_printf(&sql,
		    " UNION ALL SELECT %d, s.address_key FROM kairan.send s JOIN kairan.run r ON "
		    "r.id = s.run_id JOIN kairan.campaign c ON c.id = r.campaign_id WHERE c.name = "
		    "'%s' AND s.state IN ('sending', 'sent', 'in_doubt')",
		    COUNT_CAMPAIGN, f->exclude_campaigns.name[i]);
	buf_append_str(&sql, ") TO STDOUT");
	result = buf_failed(&sql) ? err_set(n->err, "too many campaigns are excluded")
				  : copy_out(n, buf_str(&sql), take_excluded);
	buf_release(&sql);
	return result;
}

/* ---- the audience ---- */

/* The place of the zone in the last column; 0, the campaign's, for one that is not known. */
static int
zone_of(struct counting *n, struct slice text)
{
	struct campaign_count *c = n->c;
	struct count_zone *z = &c->zones[c->zone_count];
	struct err err = { 0 };

	if (text.len == 0 || text.len >= sizeof(z->name) || text.ptr[0] == '\\')
		return 0;
	for (int i = 0; i < c->zone_count; i++)
		if (slice_equal(slice_str(c->zones[i].name), text))
			return c->zones[i].place;
	if (c->zone_count == COUNT_ZONES_MAX)
		return 0;
	(void)snprintf(z->name, sizeof(z->name), "%.*s", SLICE_ARG(text));
	z->place = policy_zone_named(n->policy, z->name, &err) != NULL ? c->zone_count : 0;
	c->zone_count++;
	return z->place;
}

/* key: the address, or the domain, whose group is known only now. */
static void
count_route(struct counting *n, int group, struct slice key, uint64_t recipients)
{
	const struct routes_group *g = policy_routes(n->policy, group);
	size_t way = g != NULL ? g->parts[routes_part(g, key)].way : SIZE_MAX;

	if (way != SIZE_MAX)
		n->c->routed[way] += recipients;
}

static int
count_recipient(struct counting *n, const struct addr *a, int zone)
{
	struct slice domain = addr_domain(a);
	char name[ADDR_MAX + 12];
	size_t len = domain.len;
	struct count_domain *d;

	memcpy(name, domain.ptr, domain.len);
	name[len] = '\0';
	if (zone > 0)
		len += (size_t)snprintf(name + len, sizeof(name) - len, "/%d", zone);
	d = strmap_get(&n->c->domains, name);
	if (d == NULL) {
		d = calloc(1, sizeof(*d) + len + 1);
		if (d == NULL)
			return err_set(n->err, "no memory");
		memcpy(d->name, name, len + 1);
		d->zone = zone;
		d->group = providers_of_domain(policy_providers(n->policy), domain);
		if (!strmap_add(&n->c->domains, d->name, d)) {
			free(d);
			return err_set(n->err, "no memory");
		}
	}
	d->recipients++;
	n->c->kept++;
	count_route(n, d->group, slice_make(a->key, a->len), 1);
	return 0;
}

/* email TAB 1 when an excluded segment has it, else 0; with quiet hours TAB time zone */
static int
take_customer(struct counting *n, struct slice line)
{
	const char *tab = memchr(line.ptr, '\t', line.len), *end = line.ptr + line.len;
	struct slice email, zone = { NULL, 0 };
	struct addr a;
	uint64_t key;
	int is_new;

	if (tab == NULL)
		return err_set(n->err, "PostgreSQL gave a row that is not understood");
	email = slice_trim(slice_make(line.ptr, (size_t)(tab - line.ptr)));
	if (end - tab > 3)
		zone = slice_make(tab + 3, (size_t)(end - tab - 3));
	n->c->audience++;
	/* COPY escapes what no address may have, and says \N for none */
	if (memchr(email.ptr, '\\', email.len) != NULL || addr_parse(&a, email, NULL) < 0) {
		n->c->excluded[COUNT_INVALID]++;
		return 0;
	}
	if (tab[1] == '1') {
		n->c->excluded[COUNT_SEGMENT]++;
		return 0;
	}
	key = hash_key(slice_make(a.key, a.len));
	for (int rule = COUNT_BOUNCED; rule <= COUNT_CAMPAIGN; rule++)
		if (keyset_has(&n->out[rule], key)) {
			n->c->excluded[rule]++;
			return 0;
		}
	if (!ses_sandbox_allows(&n->sandbox, &a)) {
		n->c->excluded[COUNT_SANDBOX]++;
		return 0;
	}
	is_new = keyset_add(&n->seen, key);
	if (is_new < 0)
		return err_set(n->err, "no memory");
	if (is_new > 0)
		return count_recipient(n, &a, n->c->zone_count > 0 ? zone_of(n, zone) : 0);
	n->c->excluded[COUNT_DUPLICATE]++;
	return 0;
}

/* With quiet hours: the campaign's zone, and the expression for that of a customer. */
static int
begin_zones(struct counting *n, struct buf *sql)
{
	const struct campaign_file *f = n->file;
	const char *columns;

	if (f->quiet_from == f->quiet_till)
		return 0;
	(void)snprintf(n->c->zones[0].name, sizeof(n->c->zones[0].name), "%s",
	    f->time_zone[0] != '\0' ? f->time_zone : "UTC");
	n->c->zone_count = 1;
	if (policy_zone_named(n->policy, n->c->zones[0].name, n->err) == NULL)
		return -1;
	columns = campaign_lookup_columns(n->db, &n->arena);
	if (columns == NULL)
		return failed(n);
	buf_append_str(sql, ", ");
	customer_field_sql(sql, columns, "c", slice_str(f->zone_field), false);
	return 0;
}

/* zone: "" or a further column. */
static int
read_audience(struct counting *n, const char *zone)
{
	const struct campaign_names *excluded = &n->file->exclude_segments;
	struct buf sql;
	bool named;
	const char *condition = campaign_segment_condition(
	    n->db, &n->arena, n->file->segment[0] != '\0' ? n->file->segment : "true", &named);
	int result = 0;

	buf_init(&sql, SQL_MAX);
	buf_append_str(&sql, SEGMENT_ROW " WHEN false THEN 1");
	for (size_t i = 0; i < excluded->count; i++) {
		const char *other =
		    campaign_segment_condition(n->db, &n->arena, excluded->name[i], &named);

		buf_printf(&sql, " WHEN (%s\n) THEN 1", other != NULL ? other : "");
		if (other == NULL)
			result = -1;
	}
	buf_printf(&sql, " ELSE 0 END%s FROM kairan.customer c WHERE (%s\n)) TO STDOUT", zone,
	    condition != NULL ? condition : "");
	if (condition == NULL || result < 0 || buf_failed(&sql))
		result = err_set(n->err, "there is not enough memory for the segment");
	else if (campaign_segment_begin(n->db, TIMEOUT) < 0)
		result = failed(n);
	else
		result = copy_out(n, buf_str(&sql), take_customer);
	if (result == 0 && db_run(n->db, "ROLLBACK", 0, NULL) < 0)
		result = failed(n);
	buf_release(&sql);
	return result;
}

/* ---- where domains have their mail ---- */

/* Those that may be looked up; place: of c->domains. */
static struct hosted *
list_hosted(const struct campaign_count *c, uint64_t own, size_t *count)
{
	struct hosted *list = calloc(c->domains.count + 1, sizeof(*list));

	*count = 0;
	for (size_t i = 0; list != NULL && i < c->domains.room; i++) {
		const struct count_domain *d =
		    c->domains.entries[i].key != NULL ? c->domains.entries[i].value : NULL;

		if (d == NULL || d->group != PROVIDERS_NONE || d->recipients < HOSTED_MIN)
			continue;
		list[*count] = (struct hosted){ .domain = strndup(d->name, strcspn(d->name, "/")),
			.recipients = d->recipients,
			.may_share = d->zone == 0 && d->recipients < own,
			.place = (uint32_t)i };
		if (list[*count].domain == NULL)
			break;
		++*count;
	}
	return list;
}

/* As the producer does; nothing is written. */
static int
find_hosted(struct counting *n, const struct config *config)
{
	struct campaign_count *c = n->c;
	uint64_t own = policy_site_min((uint64_t)c->kept);
	struct hosted_search search = {
		.db = n->db, .config = config, .table = policy_providers(n->policy), .site_min = own
	};
	size_t count;
	struct hosted *list = list_hosted(c, own, &count);
	int result =
	    list != NULL ? hosted_find(&search, list, count, n->err) : err_set(n->err, "no memory");

	for (size_t i = 0; result == 0 && i < count; i++) {
		struct count_domain *d = c->domains.entries[list[i].place].value;

		d->group = list[i].group;
		d->site = list[i].site;
		d->by_mx = d->group != PROVIDERS_NONE || d->site != NULL;
		count_route(n, d->group, slice_str(list[i].domain), d->recipients);
		list[i].site = NULL;
	}
	if (list != NULL)
		hosted_release(list, count);
	return result;
}

int
campaign_count_read(struct campaign_count *c, struct db *db, const struct campaign_file *file,
    struct policy *policy, const struct config *config, struct err *err)
{
	struct counting n = { .c = c, .db = db, .file = file, .policy = policy, .err = err };
	struct buf zone;
	int result;

	*c = (struct campaign_count){ 0 };
	arena_init(&n.arena, SQL_MAX);
	buf_init(&zone, SQL_MAX);
	result = read_excluded(&n);
	if (result == 0 && ses_sandbox_read(&n.sandbox, db, config) < 0)
		result = failed(&n);
	if (result == 0)
		result = begin_zones(&n, &zone);
	if (result == 0)
		result = read_audience(&n, buf_str(&zone));
	if (result == 0 && hosted_wanted(config))
		result = find_hosted(&n, config);
	buf_release(&zone);
	for (size_t i = 0; i < COUNT_RULES; i++)
		free(n.out[i].keys);
	free(n.seen.keys);
	ses_sandbox_release(&n.sandbox);
	arena_release(&n.arena);
	return result;
}

void
campaign_count_release(struct campaign_count *c)
{
	for (size_t i = 0; i < c->domains.room; i++) {
		struct count_domain *d =
		    c->domains.entries[i].key != NULL ? c->domains.entries[i].value : NULL;

		if (d != NULL)
			free(d->site);
		free(d);
	}
	strmap_release(&c->domains);
}
