# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The FAKE Amazon SES beside a pipeline: source this after services.sh and pipeline.sh.

unset AWS_PROFILE AWS_SESSION_TOKEN AWS_DEFAULT_REGION
# shellcheck disable=SC2034 # read by the tests
KEYS=(AWS_ACCESS_KEY_ID=AKIDEXAMPLE AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY)
# shellcheck disable=SC2034
LADDER=KAIRAN_DISPATCHER_RETRY_LADDER=1s,1s

ses_answers()
{
	(exec 3<>"/dev/tcp/127.0.0.1/$SES_PORT") 2>/dev/null
}

# Starts it and points the programs at it. Sets SES (pid), SES_PORT, AGENT_PORT.
ses_start()
{
	SES_PORT=$(services_free_port)
	AGENT_PORT=$(services_free_port)
	"$PYTHON" tests/support/ses_fake.py init "$D/ses" || tap_bail 'no certificate for the fake'
	service_spawn ses "$D/ses.log" "$PYTHON" tests/support/ses_fake.py serve "$D/ses" --log "$TRUTH" --lost "$D/lost" \
		--control "$D/ses.control" "$SES_PORT" "$AGENT_PORT" 2>/dev/null
	# shellcheck disable=SC2034
	SES=$SERVICE_PID
	services_wait 20 ses_answers || { cat "$D/ses.log"; tap_bail 'the fake does not answer'; }
	export HOME=$D AWS_EC2_METADATA_DISABLED=true AWS_REGION=ap-northeast-1 AWS_ENDPOINT_URL_SESV2=https://localhost:$SES_PORT
	export AWS_CA_BUNDLE=$D/ses/ca.pem KAIRAN_DISPATCHER_TRANSPORT=ses AWS_ENDPOINT_URL_STS=http://127.0.0.1:$AGENT_PORT
}

# arguments: lines of the control file; without any, all is normal again
ses_set()
{
	printf '%s\n' "$@" >"$D/ses.new"
	mv "$D/ses.new" "$D/ses.control"
	sleep 0.05 # it looks every 0.02 s
}
