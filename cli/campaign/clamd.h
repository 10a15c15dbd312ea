/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clamd: asks a ClamAV daemon about bytes, by the command INSTREAM of clamd(8). The answer is a
 * verdict or a reason why there is none; a file without a verdict is not clean.
 */
#ifndef KAIRAN_CLAMD_H
#define KAIRAN_CLAMD_H

#include "err.h"
#include "slice.h"

enum clamd_verdict {
	CLAMD_CLEAN,
	CLAMD_FOUND,	 /* err names what */
	CLAMD_NO_VERDICT /* err says why: not reachable, too large for it, no answer in time */
};

/* What an answer says, without the NUL that ends it. */
enum clamd_verdict clamd_verdict(const char *answer, struct err *err) MUST_CHECK;

/* where: unix:/path, address:port or [v6]:port. */
enum clamd_verdict clamd_scan(const char *where, struct slice bytes, struct err *err) MUST_CHECK;

#endif
