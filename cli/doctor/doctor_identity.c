/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_identity: see doctor_identity.h. */
#include "doctor_identity.h"

#include <poll.h>
#include <string.h>

#include "db.h"
#include "ses_identity.h"

#define PAUSE_MS 1100 /* SES allows one such request a second */
#define PAGES_MAX 10  /* an account has 10,000 identities at most */
#define TREES_MAX ((size_t)32 << 20)

/* ---- judging ---- */

static bool
lists(const struct doctor_identities *v, struct slice name)
{
	for (size_t i = 0; i < v->count; i++)
		if (slice_equal_nocase(v->names[i], name))
			return true;
	return false;
}

/* An address below the domain is verified, though the domain is not. */
static bool
lists_address_of(const struct doctor_identities *v, const char *domain)
{
	for (size_t i = 0; i < v->count; i++) {
		const char *at = memchr(v->names[i].ptr, '@', v->names[i].len);
		size_t before = at != NULL ? (size_t)(at - v->names[i].ptr) + 1 : 0;

		if (at != NULL &&
		    slice_equal_nocase(
			slice_make(at + 1, v->names[i].len - before), slice_str(domain)))
			return true;
	}
	return false;
}

bool
doctor_judge_sender(
    struct doctor_checks *d, const struct doctor_identities *verified, const char *sender)
{
	const char *at = strrchr(sender, '@'), *domain = at != NULL ? at + 1 : sender;
	bool good = lists(verified, slice_str(sender));

	for (const char *p = domain; !good && p != NULL; p = strchr(p, '.')) {
		p += *p == '.';
		good = lists(verified, slice_str(p));
	}
	if (good)
		return true;
	if (at == NULL && lists_address_of(verified, domain))
		(void)doctor_add(d, "identity", DOCTOR_WARNING, sender,
		    "verify the domain, so that every address of it may be in From",
		    "Amazon SES has verified single addresses of this domain only");
	else
		(void)doctor_add(d, "identity", DOCTOR_FAILED, sender,
		    "verify it in this region: aws sesv2 create-email-identity, then publish the "
		    "records that it answers with",
		    "Amazon SES has not verified this sender: it refuses all mail from it");
	return false;
}

/* ---- asking ---- */

/* One page behind *next into names; *next is the token of the page behind. */
static int
read_page(const struct aws_client *client, struct arena *arena, struct slice *next,
    struct slice *names, size_t *count, struct err *err)
{
	struct aws_request request = { .method = "GET", .path = SLICE(SES_IDENTITY_PATH) };
	struct ses_identity_page page;
	struct aws_reply reply;
	struct buf query;
	int result = -1;

	buf_init(&query, 8192);
	aws_reply_init(&reply);
	ses_identities_query(&query, *next);
	request.query = buf_slice(&query);
	(void)poll(NULL, 0, PAUSE_MS);
	if (buf_failed(&query))
		(void)err_set(err, "ListEmailIdentities gave a token that is too long");
	else if (aws_call(client, &request, &reply, err) == 0 && reply.status != 200)
		(void)err_set(err, "ListEmailIdentities is refused: HTTP status %d %.60s",
		    reply.status, reply.error_type);
	else if (reply.status == 200)
		result = ses_identities_parse(
		    arena_copy(arena, buf_slice(&reply.body)), arena, &page, err);
	if (result == 0) {
		memcpy(names + *count, page.names, page.count * sizeof(*names));
		*count += page.count;
		*next = page.next;
	}
	aws_reply_release(&reply);
	buf_release(&query);
	return result;
}

static int
read_identities(const struct aws_client *client, struct arena *arena,
    struct doctor_identities *verified, struct err *err)
{
	struct slice next = { NULL, 0 };
	struct slice *names =
	    arena_array(arena, (size_t)PAGES_MAX * SES_IDENTITY_PAGE, sizeof(*names));
	size_t count = 0;
	int result = names != NULL ? 0 : err_set(err, "no memory");

	for (int pages = 0; result == 0 && (pages == 0 || next.len > 0); pages++)
		result = pages < PAGES_MAX
		    ? read_page(client, arena, &next, names, &count, err)
		    : err_set(err, "there are more identities than an account can have");
	*verified = (struct doctor_identities){ names, count };
	return result;
}

/* True when all are verified. */
static bool
judge_stored(
    struct doctor_checks *d, const struct config *config, const struct doctor_identities *verified)
{
	struct err err = { 0 };
	bool good = true;
	struct db db;
	PGresult *r;

	if (db_open(&db, config->database_url, "kairan_operator", "kairan", &err) < 0) {
		(void)doctor_add(d, "identity", DOCTOR_SKIPPED, "streams and campaigns",
		    "look at database.url", "PostgreSQL cannot be asked for senders: %s", err.msg);
		return false;
	}
	r = db_query(&db,
	    "SELECT lower(unnest(mail_from)) AS sender FROM kairan.stream UNION "
	    "SELECT lower(from_address) FROM kairan.campaign c WHERE EXISTS (SELECT FROM "
	    "kairan.run r WHERE r.campaign_id = c.id AND greatest(r.created_at, r.due_at) > now() "
	    "- interval '30 days' AND NOT r.snapshot ? 'mail') ORDER BY sender LIMIT 200",
	    0, NULL);
	if (r == NULL)
		(void)doctor_add(d, "identity", DOCTOR_SKIPPED, "streams and campaigns", "",
		    "PostgreSQL cannot be asked for senders: %s", db.error);
	for (int i = 0; r != NULL && i < PQntuples(r); i++)
		good = doctor_judge_sender(d, verified, db_text(r, i, 0)) && good;
	good = good && r != NULL;
	PQclear(r);
	db_close(&db);
	return good;
}

void
doctor_check_identities(struct doctor_checks *d, const struct config *config,
    const struct aws_client *client, const char *const *domains)
{
	struct doctor_identities verified;
	struct arena arena;
	struct err err = { 0 };
	bool good = true;

	arena_init(&arena, TREES_MAX);
	if (read_identities(client, &arena, &verified, &err) < 0) {
		(void)doctor_add(d, "identity", DOCTOR_SKIPPED, client->endpoint->host,
		    "allow ses:ListEmailIdentities", "%s", err.msg);
	} else {
		for (size_t i = 0; domains[i] != NULL; i++)
			good = doctor_judge_sender(d, &verified, domains[i]) && good;
		if (judge_stored(d, config, &verified) && good)
			(void)doctor_add(d, "identity", DOCTOR_OK, client->endpoint->host, "",
			    "every sender is verified");
	}
	arena_release(&arena);
}
