/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sns_sample: certificates, and documents of SNS signed by any key. For tests; header only, behind
 * cmocka.h.
 */
#ifndef KAIRAN_SNS_SAMPLE_H
#define KAIRAN_SNS_SAMPLE_H

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARN "arn:aws:sns:eu-central-1:123456789012:kairan-events"
#define CERT_URL "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123abcdef.pem"
#define TOKEN_TEXT "2336412f37fb687f5d51e6e2425ba1f30a2d"
#define SUBSCRIBE_URL                                                                              \
	"https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" ARN         \
	"&Token=" TOKEN_TEXT

/* Owned. Without an issuer it signs itself, and is an authority. Times are from now on. */
static inline X509 *
make_cert(EVP_PKEY *key, const char *cn, long from_s, long to_s, X509 *issuer, EVP_PKEY *issuer_key)
{
	X509 *cert = X509_new();
	X509_NAME *name = X509_get_subject_name(cert);

	(void)X509_set_version(cert, 2);
	(void)ASN1_INTEGER_set(X509_get_serialNumber(cert), rand());
	(void)X509_gmtime_adj(X509_getm_notBefore(cert), from_s);
	(void)X509_gmtime_adj(X509_getm_notAfter(cert), to_s);
	(void)X509_set_pubkey(cert, key);
	(void)X509_NAME_add_entry_by_txt(
	    name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
	(void)X509_set_issuer_name(cert, issuer != NULL ? X509_get_subject_name(issuer) : name);
	if (issuer == NULL) {
		X509_EXTENSION *ext =
		    X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
		(void)X509_add_ext(cert, ext, -1);
		X509_EXTENSION_free(ext);
	}
	assert_true(X509_sign(cert, issuer_key != NULL ? issuer_key : key, EVP_sha256()) > 0);
	return cert;
}

/* base64 of the signature over text. */
static inline char *
sns_sample_sign(const char *text, size_t n, EVP_PKEY *key, const EVP_MD *hash)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	unsigned char raw[1024];
	size_t size = sizeof(raw);
	char *out = calloc(1, 2048);

	assert_int_equal(EVP_DigestSignInit(context, NULL, hash, NULL, key), 1);
	assert_int_equal(EVP_DigestSign(context, raw, &size, (const unsigned char *)text, n), 1);
	EVP_MD_CTX_free(context);
	(void)EVP_EncodeBlock((unsigned char *)out, raw, (int)size);
	return out;
}

/* A document with this message, and this address to subscribe at; what is signed is written out by
 * hand: nothing of the module under test is used. */
static inline json_t *
sns_sample_of(const char *type, const char *version, bool with_subject, const char *message,
    const char *subscribe_url, EVP_PKEY *key)
{
	json_t *doc = json_object();
	bool confirms = strcmp(type, "Notification") != 0;
	char text[8000], *signature;
	int n;

	if (confirms)
		n = snprintf(text, sizeof(text),
		    "Message\n%s\nMessageId\nid-1\nSubscribeURL\n%s"
		    "\nTimestamp\n2026-11-21T17:05:42.123Z\nToken\n" TOKEN_TEXT "\nTopicArn\n" ARN
		    "\nType\n%s\n",
		    message, subscribe_url, type);
	else
		n = snprintf(text, sizeof(text),
		    "Message\n%s\nMessageId\nid-1\n%sTimestamp\n2026-11-21T17:05:42.123Z\n"
		    "TopicArn\n" ARN "\nType\n%s\n",
		    message, with_subject ? "Subject\nnews\n" : "", type);
	assert_true(n > 0 && n < (int)sizeof(text));
	signature = sns_sample_sign(
	    text, (size_t)n, key, strcmp(version, "2") == 0 ? EVP_sha256() : EVP_sha1());
	json_object_set_new(doc, "Type", json_string(type));
	json_object_set_new(doc, "MessageId", json_string("id-1"));
	json_object_set_new(doc, "TopicArn", json_string(ARN));
	json_object_set_new(doc, "Message", json_string(message));
	json_object_set_new(doc, "Timestamp", json_string("2026-11-21T17:05:42.123Z"));
	json_object_set_new(doc, "SignatureVersion", json_string(version));
	json_object_set_new(doc, "Signature", json_string(signature));
	json_object_set_new(doc, "SigningCertURL", json_string(CERT_URL));
	if (with_subject && !confirms)
		json_object_set_new(doc, "Subject", json_string("news"));
	if (confirms) {
		json_object_set_new(doc, "Token", json_string(TOKEN_TEXT));
		json_object_set_new(doc, "SubscribeURL", json_string(subscribe_url));
	} else {
		json_object_set_new(doc, "UnsubscribeURL", json_string("https://x"));
	}
	free(signature);
	return doc;
}

static inline json_t *
sns_sample(const char *type, const char *version, bool with_subject, EVP_PKEY *key)
{
	return sns_sample_of(type, version, with_subject, "hello", SUBSCRIBE_URL, key);
}

#endif
