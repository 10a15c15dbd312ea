/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_ses: does the account at Amazon SES send, and to everybody? */
#ifndef KAIRAN_DOCTOR_SES_H
#define KAIRAN_DOCTOR_SES_H

#include "config.h"
#include "doctor.h"
#include "ses_answer.h"

/* Adds what hinders mail: a sandbox, a review, sending switched off; or that nothing does. */
void doctor_judge_account(
    struct doctor_checks *d, const char *endpoint, const struct ses_account *account);

/* Asks GetAccount when mail goes by the API of SES (dispatcher.transport = ses), and whether the
 * senders are verified (doctor_identity.h); domains: NULL at the end. */
void doctor_check_account(
    struct doctor_checks *d, const struct config *config, const char *const *domains);

#endif
