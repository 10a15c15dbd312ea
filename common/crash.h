/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crash: named places where a test build ends at once, as if killed. Release builds contain
 * nothing of it.
 *
 *   KAIRAN_CRASH_POINT=name[:nth]   kill this process at the nth time (default 1) it comes by
 *   KAIRAN_CRASH_ARMED=FILE         the same, "name:nth number", for whatever has this FILE: it is read at each
 *                                   point, so that what lives already can be told, too. Another number is
 *                                   another request, which counts from 1
 *   KAIRAN_CRASH_LOG=FILE           the name is appended before that
 *
 * tests/crash/points.sh finds the points in the sources and tries each.
 */
#ifndef KAIRAN_CRASH_H
#define KAIRAN_CRASH_H

#ifdef KAIRAN_CRASH_POINTS
void crash_point(const char *name);
#define CRASH_POINT(name) crash_point(name)
#else
#define CRASH_POINT(name) ((void)0)
#endif

#endif
