/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys: every Redis key, its type, who writes it, and what is lost when it is.
 * Redis may be wiped at any moment: all of this comes back from PostgreSQL.
 *
 *   {r:RUN}:q:LANE  list   send ids waiting for a dispatcher, next one at the left.
 *                          producer pushes right (retries left), dispatcher pops left and
 *                          pushes released ids left. Lost: refilled from send.
 *   {r:RUN}:gen     string set by the producer when it (re)fills; its absence means that
 *                          Redis lost the lists. Lost: the producer starts a refill.
 *   {p:STREAM}:cal  hash   lane -> "start_us|end_us|interval_us": at which pace permits may be
 *                          given and until when. producer writes, reserve.lua reads.
 *                          Lost: nothing is sent until the producer writes it again.
 *   {p:STREAM}:tat  hash   lane -> time of the last permit given, in us of Redis's clock.
 *                          reserve.lua. Lost: starts at now, without credit.
 *
 * For lanes (common/lua/reserve.lua and plan.lua; nobody calls them in a run yet):
 *
 *   {p:POOL}:pace   hash   calendars by limiter and lane, "#" the planner's generation. plan.lua
 *                          writes, reserve.lua reads. Lost: silence until it is written again.
 *   {p:POOL}:next   hash   clocks by limiter and lane. reserve.lua. Lost: a second of silence,
 *                          then paced from now.
 *   {p:POOL}:quota  hash   permits by minute of the last 24 hours, limit, sum, tail. Lost: to be
 *                          set again from what PostgreSQL or the provider has counted.
 *
 * The part in braces is the hash tag: keys of one script share a slot in a cluster. Lane is
 * "all" until there are lanes by provider.
 */
#ifndef KAIRAN_KEYS_H
#define KAIRAN_KEYS_H

#define KEY_QUEUE "{r:%d}:q:%s"
#define KEY_GENERATION "{r:%d}:gen"
#define KEY_CALENDAR "{p:%s}:cal"
#define KEY_ARRIVAL "{p:%s}:tat"
#define KEY_PACE "{p:%s}:pace"
#define KEY_NEXT "{p:%s}:next"
#define KEY_QUOTA "{p:%s}:quota"
#define KEY_LANE_ALL "all"

/* Room for any of them with its NUL: names are at most 63 characters. */
#define KEY_MAX 128

#endif
