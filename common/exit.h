/* SPDX-License-Identifier: Apache-2.0 */
/* exit: the exit codes of every program, as the manual lists them. */
#ifndef KAIRAN_EXIT_H
#define KAIRAN_EXIT_H

enum exit_code {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,	    /* command line, configuration, campaign file */
	EXIT_PAUSED = 3,    /* paused by the breaker */
	EXIT_DOUBT = 4,	    /* finished with recipients in doubt */
	EXIT_MISSED = 5,    /* missed its window */
	EXIT_NOTHING = 6,   /* nothing to do, e.g. this run key was sent before */
	EXIT_TEMPORARY = 75 /* try again: service absent (sysexits EX_TEMPFAIL) */
};

#endif
