/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dkim_store: the keys of signatures on disk, dkim.dir:
 *
 *   DIR/DOMAIN/SELECTOR.pem      signs mail from DOMAIN, and from below it when nothing is nearer
 *   DIR/DOMAIN/SELECTOR.new      made, not in use yet: its record is to be published first
 *   DIR/DOMAIN/SELECTOR.old      not in use any more; kept until its record may go
 *
 * Other names are ignored. A key that others can read is refused (mode & 077).
 */
#ifndef KAIRAN_DKIM_STORE_H
#define KAIRAN_DKIM_STORE_H

#include "dkim.h"
#include "err.h"

#define DKIM_STORE_DOMAINS_MAX 1000

/* Adds the keys of exactly this domain whose files end in `suffix` (".pem"), RSA before Ed25519,
 * then by selector. A folder that is not there holds none. 0, or -1 with err. */
int dkim_store_read(const char *dir, const char *domain, const char *suffix, struct dkim *dkim,
    struct err *err) MUST_CHECK;

/*
 * What signs mail from this domain: the keys of the nearest folder going up (news.example.jp, then
 * example.jp), then those of each domain in `also` (comma separated). *dkim is NULL when there is
 * none: such mail is not signed. 0, or -1 with err when a key that is there cannot be used.
 */
int dkim_store_load(const char *dir, const char *from_domain, const char *also, struct dkim **dkim,
    struct err *err) MUST_CHECK;

/* The domains with a folder, sorted. names: an array of `count` strings, both owned:
 * dkim_store_free_domains. 0, or -1 with err. */
int dkim_store_domains(const char *dir, char ***names, size_t *count, struct err *err) MUST_CHECK;
void dkim_store_free_domains(char **names, size_t count);

#endif
