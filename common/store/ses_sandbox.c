/* SPDX-License-Identifier: Apache-2.0 */
/* ses_sandbox: see ses_sandbox.h. A sandbox has few identities, and sends to few. */
#include "ses_sandbox.h"

#include <stdlib.h>
#include <string.h>

#include "aws_chain.h"

#define SIMULATOR "simulator.amazonses.com"

int
ses_sandbox_read(struct ses_sandbox *s, struct db *db, const struct config *config)
{
	const char *params[] = { s->region };
	PGresult *r;

	*s = (struct ses_sandbox){ 0 };
	if (strcmp(config->dispatcher_transport, "ses") != 0)
		return 0;
	aws_chain_region(config->ses_region, s->region);
	r = db_query(db,
	    "SELECT E'\\n' || array_to_string(identities, E'\\n') || E'\\n' FROM "
	    "kairan.ses_sandbox "
	    "WHERE region = $1 AND looked_at > now() - interval '1 hour'",
	    1, params);
	if (r == NULL)
		return -1;
	s->is_on = PQntuples(r) > 0;
	if (s->is_on)
		s->text = strdup(db_text(r, 0, 0));
	PQclear(r);
	if (s->is_on && s->text == NULL) {
		(void)snprintf(db->error, sizeof(db->error), "there is not enough memory");
		return -1;
	}
	return 0;
}

void
ses_sandbox_release(struct ses_sandbox *s)
{
	free(s->text);
	*s = (struct ses_sandbox){ 0 };
}

/* An address has no line end, so none is taken for two. */
static bool
lists(const struct ses_sandbox *s, const char *name)
{
	char line[ADDR_MAX + 3];
	size_t n = 1;

	line[0] = '\n';
	for (; *name != '\0' && n <= ADDR_MAX; name++, n++)
		line[n] = *name >= 'A' && *name <= 'Z' ? (char)(*name + 32) : *name;
	line[n++] = '\n';
	line[n] = '\0';
	return strstr(s->text, line) != NULL;
}

bool
ses_sandbox_allows(const struct ses_sandbox *s, const struct addr *a)
{
	const char *domain = a->text + a->domain_at;

	if (!s->is_on || strcmp(domain, SIMULATOR) == 0 || lists(s, a->text))
		return true;
	while (domain != NULL && *domain != '\0') {
		if (lists(s, domain))
			return true;
		domain = strchr(domain, '.');
		domain += domain != NULL;
	}
	return false;
}
