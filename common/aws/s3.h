/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3: where an object of Amazon S3 is (API reference, GetObject). No I/O. The bucket is part of the
 * host; where the address of the API was given, and for buckets with a dot, whose name no
 * certificate covers, it is part of the path.
 */
#ifndef KAIRAN_S3_H
#define KAIRAN_S3_H

#include <stdbool.h>

#include "aws_endpoint.h"
#include "buf.h"
#include "err.h"
#include "slice.h"

#define S3_BUCKET_MAX 63
#define S3_KEY_MAX 1024

/* 3 to 63 of a-z 0-9 - and dots between labels (general purpose buckets). */
bool s3_bucket_check(struct slice bucket);

/* 1 to S3_KEY_MAX bytes, no control character, no segment "." or "..", which something on the way might
 * resolve. */
bool s3_key_check(struct slice key);

/* The endpoint to sign for and the path, encoded, appended to path. bucket and key were checked.
 * 0, or -1 with err: too long. */
MUST_CHECK int s3_place(const struct aws_endpoint *api, struct slice bucket, struct slice key,
    struct aws_endpoint *e, struct buf *path, struct err *err);

#endif
