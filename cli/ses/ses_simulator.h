/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_simulator: what Amazon SES does with a mail to its mailbox simulator, imitated for trying
 * without an account: events and SNS documents made. No I/O but the key's file. Whoever is not at
 * simulator.amazonses.com fares like success@: nothing is sent to anybody.
 */
#ifndef KAIRAN_SES_SIMULATOR_H
#define KAIRAN_SES_SIMULATOR_H

#include <jansson.h>
#include <openssl/evp.h>
#include <time.h>

#include "buf.h"
#include "err.h"
#include "ses_order.h"
#include "slice.h"

#define SES_SIMULATOR_REGION "us-east-1"
#define SES_SIMULATOR_TOPIC "arn:aws:sns:us-east-1:000000000000:kairan-simulator"
#define SES_SIMULATOR_ID 64 /* bytes of a message id */

/* SES Developer Guide, "Using the mailbox simulator". */
enum ses_simulated {
	SES_SIMULATED_SUCCESS,	  /* a Delivery */
	SES_SIMULATED_BOUNCE,	  /* a Bounce, Permanent/General, 5.1.1 */
	SES_SIMULATED_OOTO,	  /* a Delivery; the automatic reply is mail, and is not imitated */
	SES_SIMULATED_COMPLAINT,  /* a Delivery, then a Complaint */
	SES_SIMULATED_SUPPRESSED, /* a Bounce, Permanent/Suppressed: the global list */
	SES_SIMULATED_KINDS
};

/* A label behind "+" does not count: bounce+x@simulator.amazonses.com. */
enum ses_simulated ses_simulated_of(struct slice address);

/* Random, of the form that SES gives. */
void ses_simulator_id(char id[SES_SIMULATOR_ID], time_t now);

/* The events that a mail will have, as an array; NULL without memory. The caller owns it. One whose
 * data lacks something that its template asks for has a Rendering Failure, wherever it goes. */
json_t *ses_simulator_events(const struct ses_order *order, const char *id, time_t now);

/* Who signs the documents. */
struct ses_simulator_key {
	EVP_PKEY *key;
	char certificate[80]; /* its file's name */
};

/* Reads the key from the folder, or makes it there with its certificate (also as ca.pem). */
MUST_CHECK int ses_simulator_key_open(
    struct ses_simulator_key *key, const char *folder, struct err *err);
void ses_simulator_key_close(struct ses_simulator_key *key);

/* The document that SNS would post for an event, signed. False without memory. */
bool ses_simulator_document(
    const struct ses_simulator_key *key, const json_t *event, time_t now, struct buf *out);

#endif
