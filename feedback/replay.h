/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay: feeds archives through the same readers and the same kairan.ingest() as the daemon:
 * single mails, mbox files, folders (Maildirs too) of either, and files of JSON lines (documents of
 * SNS, events of SES or EventBridge). What was heard before does nothing. No file is changed.
 */
#ifndef KAIRAN_FEEDBACK_REPLAY_H
#define KAIRAN_FEEDBACK_REPLAY_H

/* The command `kairan-feedback replay`; argv[0] is its name. Returns an exit_code. */
struct mail_worker;
int replay_main(int argc, char **argv, struct mail_worker *worker);

#endif
