/* SPDX-License-Identifier: Apache-2.0 */
/*
 * classify_command: `kairan-feedback classify FILE...`: says what the bounce classifier makes of
 * files, one JSON line each. Needs neither configuration nor database, changes nothing.
 */
#ifndef KAIRAN_FEEDBACK_CLASSIFY_COMMAND_H
#define KAIRAN_FEEDBACK_CLASSIFY_COMMAND_H

/* The arguments behind the word "classify". An exit status (exit.h): EXIT_DONE, EXIT_FAILED when
 * a file could not be read (its line is there all the same), EXIT_USAGE. */
int classify_command(int argc, char **argv);

#endif
