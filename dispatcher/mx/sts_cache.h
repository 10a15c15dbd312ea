/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sts_cache: policies of MTA-STS in a file of the dispatcher's state folder, so that a restart while DNS or the policy
 * host are kept from us does not switch them off (RFC 8461 5.1). One policy a line; a file that is damaged costs the
 * lines that are.
 */
#ifndef KAIRAN_STS_CACHE_H
#define KAIRAN_STS_CACHE_H

#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "mta_sts.h"

#define STS_CACHE_BYTES_MAX ((size_t)8 << 20)

struct sts_cached {
	char domain[DNS_NAME_MAX + 1];
	char id[MTA_STS_ID_MAX + 1];
	int64_t until_s; /* of the clock; it holds until then */
	struct mta_sts_policy policy;
};

/* "DOMAIN ID MODE UNTIL MAX_AGE HOST ..." without its line end. false: malformed, over at now_s, or longer valid than
 * its max_age can make it (the clock was changed). */
bool sts_cache_read_line(struct slice line, int64_t now_s, struct sts_cached *c);
void sts_cache_put_line(struct buf *out, const struct sts_cached *c);

/* Each good line goes to `each`. A file that is not there is empty. 0, or -1 with err. */
int sts_cache_load(const char *path, int64_t now_s,
    void (*each)(void *ctx, const struct sts_cached *c), void *ctx, struct err *err) MUST_CHECK;

/* In the place of the file, whole or not at all; a loss of power may leave the old one, or none. 0, or -1 with err. */
int sts_cache_save(const char *path, struct slice text, struct err *err) MUST_CHECK;

#endif
