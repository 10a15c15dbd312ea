/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys: every Redis key, its type, who writes it, and what is lost when it is.
 * Redis may be wiped at any moment: all of this comes back from PostgreSQL.
 *
 *   {r:RUN}:q:all   list   send ids waiting for a dispatcher, next one at the left.
 *                          producer pushes right (retries left), dispatcher pops left and
 *                          pushes released ids left. Lost: refilled from send.
 *   {r:RUN}:q:LANE  list   the same for each lane that has a clock of its own (run_lane.paced).
 *   {r:RUN}:gen     string set by the producer when it (re)fills; its absence means that
 *                          Redis lost the lists. Lost: the producer starts a refill.
 *   {p:POOL}:pace   hash   calendars of limiters ("a", "s:STREAM", their urgent parts "au" and
 *                          "su:STREAM", "g:NAME") and lists ("l:RUN.LANE", lane 0 is the list
 *                          "all"), packed; "#" the epoch of the producer that wrote them. plan.lua
 *                          writes, reserve.lua and `kairan pace show` read. Lost: silence until the producer
 *                          writes it again.
 *   {p:POOL}:next   hash   clocks by limiter and list. reserve.lua, plan.lua. Lost: a second of
 *                          silence, then paced from now.
 *   {p:POOL}:heard  list   what replies dispatchers have heard of destinations (brake_report.h).
 *                          Dispatchers push right and trim, the leading producer takes. Lost: replies
 *                          of the last moment brake nobody.
 *   {p:POOL}:brake  hash   brakes by destination (brake_print()). The leading producer writes,
 *                          dispatchers read. Lost: written again within seconds from kairan.brake.
 *   {p:POOL}:quota  hash   permits by minute of the last 24 hours, limit, sum, tail. quota.lua,
 *                          reserve.lua. Lost: counted again from the database.
 *   {p:POOL}:account hash  what Amazon SES said of the account, and when. The leading producer.
 *                          Lost: a minute later it is there again.
 *   {p:POOL}:here   hash   dispatchers that share connections, and until when each counts as here.
 *                          connections.lua. Lost: for 10 s only connections that are open stay.
 *   {p:POOL}:conn:DESTINATION hash  connections to a destination (a hash of its mail servers): held
 *                          and wanted by dispatcher. connections.lua. Lost: told again within 2 s.
 *
 * The part in braces is the hash tag: keys of one script share a slot in a cluster. There is one
 * pool (POLICY_POOL), since streams share accounts and providers.
 */
#ifndef KAIRAN_KEYS_H
#define KAIRAN_KEYS_H

#define KEY_QUEUE "{r:%d}:q:%s"
#define KEY_QUEUE_LANE "{r:%d}:q:%d"
#define KEY_GENERATION "{r:%d}:gen"
#define KEY_PACE "{p:%s}:pace"
#define KEY_NEXT "{p:%s}:next"
#define KEY_QUOTA "{p:%s}:quota"
#define KEY_HEARD "{p:%s}:heard"
#define KEY_BRAKE "{p:%s}:brake"
#define KEY_ACCOUNT "{p:%s}:account"
#define KEY_HERE "{p:%s}:here"
#define KEY_CONNECTIONS "{p:%s}:conn:%016llx"
#define KEY_LANE_ALL "all"
#define KEY_LANE_NAME "l:%d.%d" /* field of a list in the pool */

/* Room for any of them with its NUL: names are at most 63 characters. */
#define KEY_MAX 128

#endif
