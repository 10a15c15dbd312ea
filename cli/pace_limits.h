/* SPDX-License-Identifier: Apache-2.0 */
/* pace_limits: limits that cannot be reached, since another one is lower. */
#ifndef KAIRAN_PACE_LIMITS_H
#define KAIRAN_PACE_LIMITS_H

#include "policy.h"

struct pace_limits {
	const struct policy *policy; /* with what was set */
	const bool *groups;	     /* those that matter; NULL: all */
	double stream_per_s;	     /* of what is sent through streams; 0: no limit */
	const char *stream;	     /* whose rate that is, in words */
};

/* A sentence on standard error for each limit that was set for a provider (kairan pace set) and is above
 * the rate of the account or of the stream. Those of the table are guesses for any installation and
 * not looked at. */
void pace_limits_warn(const struct pace_limits *l);

#endif
