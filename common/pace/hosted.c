/* SPDX-License-Identifier: Apache-2.0 */
/* hosted: see hosted.h. */
#include "hosted.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "mx_survey.h"
#include "pgarray.h"

#define KEEP_MIN_S 21600L /* where a domain has its mail changes seldom */
#define KEEP_MAX_S 604800L
#define ARRAY_MAX ((size_t)4 << 20)
#define HOSTS_MAX 10

bool
hosted_wanted(const struct config *config)
{
	return strcmp(config->pace_mx_groups, "yes") == 0 ||
	    (strcmp(config->pace_mx_groups, "auto") == 0 &&
		strcmp(config->dispatcher_transport, "mx") == 0);
}

static int
by_recipients(const void *a, const void *b)
{
	const struct hosted *x = a, *y = b;

	if (x->recipients != y->recipients)
		return x->recipients > y->recipients ? -1 : 1;
	return strcmp(x->domain, y->domain);
}

static int
by_site(const void *a, const void *b)
{
	const struct hosted *x = a, *y = b;
	int by;

	if (x->site == NULL || y->site == NULL)
		return (x->site == NULL) - (y->site == NULL);
	by = strcmp(x->site, y->site);
	return by != 0 ? by : by_recipients(a, b);
}

/* ---- the table ---- */

/* What is kept; *fresh says of which need not be asked. Those past their time do where DNS is silent. */
static int
read_kept(const struct hosted_search *s, struct mx_survey_item *items, bool *fresh, size_t count,
    struct err *err)
{
	struct buf domains;
	const char *params[1];
	PGresult *r;

	buf_init(&domains, ARRAY_MAX);
	for (size_t i = 0; i < count; i++)
		pgarray_text(&domains, slice_str(items[i].domain));
	params[0] = pgarray_end(&domains);
	r = params[0] == NULL ? NULL
			      : db_query(s->db,
				    "SELECT d.place, m.hosts, m.expires_at > clock_timestamp() "
				    "FROM unnest($1::text[]) WITH ORDINALITY AS d(domain, place) "
				    "JOIN kairan.domain_mx m ON m.domain = d.domain",
				    1, params);
	buf_release(&domains);
	if (r == NULL)
		return err_set(err, "reading the mail servers of domains: %s",
		    params[0] == NULL ? "no memory" : s->db->error);
	for (int i = 0; i < PQntuples(r); i++) {
		size_t place = (size_t)db_number(r, i, 0) - 1;

		items[place].hosts = strdup(db_text(r, i, 1));
		fresh[place] = db_text(r, i, 2)[0] == 't';
	}
	PQclear(r);
	return 0;
}

static int
write_kept(const struct hosted_search *s, const struct mx_survey_item *items, size_t count,
    struct err *err)
{
	static const char sql[] =
	    "INSERT INTO kairan.domain_mx (domain, hosts, expires_at) SELECT DISTINCT ON (1) "
	    "n.domain, "
	    "n.hosts, "
	    "clock_timestamp() + make_interval(secs => n.keep) FROM unnest($1::text[], $2::text[], "
	    "$3::int[]) AS n(domain, hosts, keep) ON CONFLICT (domain) DO UPDATE SET hosts = "
	    "excluded.hosts, resolved_at = clock_timestamp(), expires_at = excluded.expires_at";
	struct buf arrays[3];
	const char *params[3];
	int result = 0;

	for (size_t i = 0; i < 3; i++)
		buf_init(&arrays[i], ARRAY_MAX);
	for (size_t i = 0; i < count; i++) {
		long keep_s = (long)items[i].keep_s;

		if (items[i].hosts == NULL)
			continue;
		keep_s = keep_s < KEEP_MIN_S ? KEEP_MIN_S
		    : keep_s > KEEP_MAX_S    ? KEEP_MAX_S
					     : keep_s;
		pgarray_text(&arrays[0], slice_str(items[i].domain));
		pgarray_text(&arrays[1], slice_str(items[i].hosts));
		pgarray_int(&arrays[2], keep_s);
	}
	for (size_t i = 0; i < 3; i++)
		if ((params[i] = pgarray_end(&arrays[i])) == NULL)
			result = err_set(err, "no memory");
	if (result == 0 &&
	    (db_run(s->db, sql, 3, params) < 0 ||
		db_run(s->db,
		    "DELETE FROM kairan.domain_mx WHERE expires_at < now() - interval '30 days'", 0,
		    NULL) < 0))
		result = err_set(err, "keeping the mail servers of domains: %s", s->db->error);
	for (size_t i = 0; i < 3; i++)
		buf_release(&arrays[i]);
	return result;
}

/* ---- DNS ---- */

/* Asks for those that are not fresh. */
static int
ask(const struct hosted_search *s, struct mx_survey_item *items, const bool *fresh, size_t count,
    struct err *err)
{
	struct mx_survey_item *asked = calloc(count, sizeof(*asked));
	size_t n = 0, answered = 0;
	struct err why = { 0 };
	int result = 0;

	if (asked == NULL)
		return err_set(err, "no memory");
	for (size_t i = 0; i < count; i++)
		if (!fresh[i])
			asked[n++].domain = items[i].domain;
	if (mx_survey(asked, n, s->config->dispatcher_resolver,
		(uint64_t)s->config->pace_mx_wait_s * 1000, &why) < 0)
		log_warn("mail servers of domains are not known why=\"%s\"", why.msg);
	if (s->keep)
		result = write_kept(s, asked, n, err);
	for (size_t i = 0, k = 0; i < count; i++) {
		if (fresh[i])
			continue;
		if (asked[k].hosts != NULL) {
			free(items[i].hosts);
			items[i].hosts = asked[k].hosts;
			answered++;
		}
		k++;
	}
	if (answered < n)
		log_warn(
		    "DNS did not say in time where domains have their mail asked=%zu answered=%zu",
		    n, answered);
	free(asked);
	return result;
}

/* ---- groups and sites ---- */

static int
place_one(const struct hosted_search *s, struct hosted *h, const char *hosts, struct err *err)
{
	struct slice list[HOSTS_MAX];
	size_t count = 0;

	while (count < HOSTS_MAX && *hosts != '\0') {
		size_t n = strcspn(hosts, " ");

		list[count++] = slice_make(hosts, n);
		hosts += n + (hosts[n] == ' ');
	}
	h->group = providers_of_mx(s->table, list, count);
	if (h->group != PROVIDERS_NONE || count == 0 || !h->may_share)
		return 0;
	if (asprintf(&h->site, HOSTED_SITE "%.*s", SLICE_ARG(list[0])) >= 0)
		return 0;
	h->site = NULL;
	return err_set(err, "no memory");
}

/* The list is sorted by site. */
static void
drop_small_sites(struct hosted *list, size_t count, uint64_t least)
{
	for (size_t i = 0, end; i < count && list[i].site != NULL; i = end) {
		uint64_t all = list[i].recipients;

		for (end = i + 1; end < count && list[end].site != NULL &&
		     strcmp(list[end].site, list[i].site) == 0;
		     end++)
			all += list[end].recipients;
		for (size_t k = i; all < least && k < end; k++) {
			free(list[k].site);
			list[k].site = NULL;
		}
	}
}

int
hosted_find(const struct hosted_search *s, struct hosted *list, size_t count, struct err *err)
{
	size_t n = count < HOSTED_MAX ? count : HOSTED_MAX;
	struct mx_survey_item *items = calloc(n + 1, sizeof(*items));
	bool *fresh = calloc(n + 1, sizeof(*fresh));
	int result = items != NULL && fresh != NULL ? 0 : err_set(err, "no memory");

	if (count > 1)
		qsort(list, count, sizeof(*list), by_recipients);
	for (size_t i = 0; i < count; i++)
		list[i].group = PROVIDERS_NONE;
	for (size_t i = 0; result == 0 && i < n; i++)
		items[i].domain = list[i].domain;
	if (result == 0 && n > 0)
		result = read_kept(s, items, fresh, n, err);
	if (result == 0 && n > 0)
		result = ask(s, items, fresh, n, err);
	for (size_t i = 0; result == 0 && i < n; i++)
		if (items[i].hosts != NULL)
			result = place_one(s, &list[i], items[i].hosts, err);
	for (size_t i = 0; items != NULL && i < n; i++)
		free(items[i].hosts);
	free(items);
	free(fresh);
	if (result < 0)
		return -1;
	if (count > 1)
		qsort(list, count, sizeof(*list), by_site);
	drop_small_sites(list, count, s->site_min);
	if (count > 1)
		qsort(list, count, sizeof(*list), by_site);
	return 0;
}

void
hosted_release(struct hosted *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(list[i].domain);
		free(list[i].site);
	}
	free(list);
}
