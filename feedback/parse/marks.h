/* SPDX-License-Identifier: Apache-2.0 */
/*
 * marks: the phrases by which notices are told apart, as data. All lists are phrases of words.h;
 * marks.c says where each group comes from. None of them names a reason: those are the rules of
 * classify.c.
 */
#ifndef KAIRAN_MARKS_H
#define KAIRAN_MARKS_H

/* The notice itself. */
extern const char marks_frame[];   /* only an MTA's failure notice says so */
extern const char marks_delay[];   /* still being tried */
extern const char marks_final[];   /* nobody tries any more */
extern const char marks_failure[]; /* words of failure anywhere in a line */
extern const char marks_success[]; /* a confirmation of delivery */
extern const char marks_footer[];  /* a line that any mail may carry: it tells no reason */

/* Where in the SMTP session a refusal came: it tells who is meant. */
extern const char marks_at_session[];
extern const char marks_at_mail[];
extern const char marks_at_data[];

/* The outer header. */
extern const char marks_daemon[];	  /* From of mail systems */
extern const char marks_daemon_address[]; /* the address, not the name, in From of mail systems */
extern const char marks_daemon_path[];	  /* Return-Path of mail systems */
extern const char marks_bounce_subject[]; /* Subject of bounces */
extern const char marks_delay_subject[];
extern const char marks_reply_subject[];     /* Re:, Fwd: and their sisters */
extern const char marks_auto_subject[];	     /* out of office, vacation */
extern const char marks_complaint_subject[]; /* feedback loops without ARF */
extern const char marks_challenge[];	     /* "confirm that you are a person" */

/* The returned original begins behind such a line. */
extern const char marks_original[];
extern const char marks_original_framed[]; /* between dashes */

/* What stands before or behind an address. */
extern const char marks_label[];
extern const char marks_command[];
extern const char marks_sentence[];
extern const char marks_not_failed[];
extern const char marks_contact[]; /* the heading over the address of a help desk or sender */
extern const char marks_remark[];

#endif
