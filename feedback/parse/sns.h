/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sns: one document of Amazon SNS as posted over HTTPS or found in an SQS body: parse, the
 * string that was signed, its RSA signature, and the rules for topics and URLs. Pure.
 *
 * Order for the caller: sns_parse, sns_admit, sns_cert_get (sns_cert.h), sns_verify; only then
 * look into message. Nothing but the signed fields is to be believed: not the headers, not
 * UnsubscribeURL, not MessageAttributes (they are not even read).
 */
#ifndef KAIRAN_SNS_H
#define KAIRAN_SNS_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "err.h"
#include "slice.h"

#define SNS_BODY_MAX (512 * 1024) /* document; Message itself is at most 256 KiB */
#define SNS_MESSAGE_MAX (256 * 1024)
#define SNS_URL_MAX 512
#define SNS_JSON_DEPTH_MAX 16
#define SNS_RSA_BITS_MIN 2048

enum sns_type { SNS_NOTIFICATION, SNS_SUBSCRIPTION_CONFIRMATION, SNS_UNSUBSCRIBE_CONFIRMATION };

struct sns_message {
	enum sns_type type;
	struct slice message_id; /* the same on every retry */
	struct slice topic_arn;
	struct slice message; /* decoded string; may hold NULs */
	bool has_subject;     /* a JSON null counts as absent; "" does not */
	struct slice subject; /* may hold NULs */
	struct slice timestamp;
	int64_t timestamp_us;	    /* microseconds since 1970 UTC */
	struct slice token;	    /* both confirmations */
	struct slice subscribe_url; /* both confirmations */
	int signature_version;	    /* 1 (SHA-1) or 2 (SHA-256) */
	struct slice signature;	    /* base64 */
	struct slice cert_url;	    /* unsigned: see sns_cert_url_check */
};

/* What the operator allows. */
struct sns_policy {
	const struct slice *topics; /* exact ARNs */
	size_t topic_count;	    /* 0 allows none */
	bool require_v2;	    /* refuse SHA-1 signatures */
};

/*
 * Reads a document. 0, or -1 with err: not JSON, a key twice, deeper than SNS_JSON_DEPTH_MAX,
 * data behind the object, a required field missing, too long or not a string, a NUL in any
 * field but Message and Subject, an unknown Type or SignatureVersion. A document that is not
 * of SNS (raw delivery) is an error too. Slices live in the arena.
 */
int sns_parse(
    struct slice body, struct arena *arena, struct sns_message *msg, struct err *err) MUST_CHECK;

/* The string to sign: "Key\nValue\n" for each key of the type, in order. -1 without memory. */
int sns_canonical(
    const struct sns_message *msg, struct arena *arena, struct slice *text) MUST_CHECK;

/* All that can be refused before a certificate is fetched: topic, version, certificate URL,
 * the header x-amz-sns-message-type (empty when there is none: SQS). 0, or -1 with err
 * (answer 403). */
int sns_admit(const struct sns_message *msg, const struct sns_policy *policy,
    struct slice type_header, struct err *err) MUST_CHECK;

/* The key of a certificate, made ready once for many signatures: looking up algorithms takes half
 * as long as the check itself. Of one thread at a time. */
struct sns_key;

/* An RSA key of SNS_RSA_BITS_MIN bits or more; false with err. */
bool sns_key_check(X509 *cert, struct err *err) MUST_CHECK;

/* NULL with err: no such key, or no memory. cert is not kept. */
struct sns_key *sns_key_new(X509 *cert, struct err *err);
void sns_key_free(struct sns_key *key);

/* The signature by the key, and the version asked for. 0; -1 with err (answer 403); or SNS_NOT_NOW
 * with err: it could not be checked, for want of memory (answer 503: Amazon does not repeat what was
 * answered with 4xx). The certificate must have been checked by sns_cert_get. */
#define SNS_NOT_NOW (-2)
int sns_verify(const struct sns_message *msg, struct sns_key *key, bool require_v2,
    struct arena *arena, struct err *err) MUST_CHECK;

/* Exact member of the list. */
bool sns_topic_allowed(struct slice topic_arn, const struct slice *topics, size_t count) MUST_CHECK;

/* The region in "arn:aws:sns:REGION:ACCOUNT:NAME"; empty when it is no topic ARN. */
struct slice sns_topic_region(struct slice topic_arn);

/* True for exactly https://sns.REGION.amazonaws.com/SimpleNotificationService-HEX.pem, with
 * .com.cn for regions that begin with cn-. Compared byte by byte: no port, user, query,
 * escapes or upper case. */
bool sns_cert_url_check(struct slice url, struct slice region) MUST_CHECK;

/* True for exactly https://sns.REGION.amazonaws.com/?Action=ConfirmSubscription with the
 * document's own topic and token, and of a SubscriptionConfirmation. Never fetch one for which
 * this is false. */
bool sns_subscribe_url_check(const struct sns_message *msg) MUST_CHECK;

/* The header agrees with the signed Type, or is empty. */
bool sns_type_header_check(const struct sns_message *msg, struct slice header) MUST_CHECK;

/* "Notification", … as in the document. */
const char *sns_type_name(enum sns_type type);

#endif
