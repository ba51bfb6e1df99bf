"""The provider's error codes: what each means, what a person does about it, what the engine does.

Source: https://www.twilio.com/docs/api/errors, in our own words and as far as the engine meets them.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """`error_class` groups causes (number, content, capacity, …), `resolution` is for a person, `action` is the engine's."""

    code: int
    description: str
    error_class: str
    resolution: str
    action: str


ERROR_CODES = (
    ErrorCode(
        20003,
        "Account SID or auth token is wrong",
        "account",
        "Set ESE_TWILIO_ACCOUNT_SID and ESE_TWILIO_AUTH_TOKEN to those of an active account",
        "pause sending, page",
    ),
    ErrorCode(
        20429,
        "Too many requests",
        "transient",
        "Lower the send rate or spread campaigns over time",
        "back off, retry",
    ),
    ErrorCode(
        21211,
        "Invalid 'To' phone number",
        "number",
        "Validate E.164 format before sending",
        "never retry",
    ),
    ErrorCode(
        21408,
        "Sending to this region is not enabled",
        "configuration",
        "Enable the region in the account's geographic permissions or leave it out of the segment",
        "stop the region, tell an administrator",
    ),
    ErrorCode(
        21606,
        "'From' number cannot send to this destination",
        "configuration",
        "Use a sender of this account that can reach the destination",
        "tell an administrator",
    ),
    ErrorCode(
        21610,
        "Recipient has opted out",
        "consent",
        "Do not write again until the recipient sends START",
        "set STOP, never retry",
    ),
    ErrorCode(
        21611,
        "Sender's queue is full",
        "capacity",
        "Reduce the send rate or add senders",
        "slow down",
    ),
    ErrorCode(
        21614,
        "'To' number is not a valid mobile number",
        "number",
        "Verify mobile vs landline number type",
        "suppress the number",
    ),
    ErrorCode(
        21617,
        "Message body is longer than 1600 characters",
        "content",
        "Shorten the template or the values filled into it",
        "never retry",
    ),
    ErrorCode(
        30001,
        "Queue overflow",
        "capacity",
        "Reduce send rate or increase rate limits",
        "slow down",
    ),
    ErrorCode(
        30002,
        "Account is suspended",
        "account",
        "Ask the provider why the account was suspended and settle it",
        "stop sending, page",
    ),
    ErrorCode(
        30003,
        "Handset is unreachable",
        "transient",
        "Nothing to correct: the phone is off or out of coverage; try again later",
        "retry later",
    ),
    ErrorCode(
        30004,
        "Message is blocked",
        "recipient",
        "The recipient or the carrier refuses these messages; check consent and use another channel",
        "do not retry",
    ),
    ErrorCode(
        30005,
        "Handset is unknown",
        "number",
        "Confirm the number with the recipient; it may be out of service",
        "suppress the number when it happens again",
    ),
    ErrorCode(
        30006,
        "Landline or unreachable carrier",
        "number",
        "Look up the number's type and remove landlines from the segment",
        "suppress the number",
    ),
    ErrorCode(
        30007,
        "Filtered by the carrier",
        "content",
        "Check wording, links and sender registration against the carriers' rules",
        "pause the campaign above a share",
    ),
    ErrorCode(
        30008,
        "Unknown error",
        "transient",
        "The carrier gave no reason; try again and ask the provider if it persists",
        "retry once",
    ),
    ErrorCode(
        30017,
        "Carrier network is congested",
        "transient",
        "Nothing to correct: send again when the network has recovered",
        "retry later",
    ),
    ErrorCode(
        30022,
        "Rate limit of the registered US campaign is exceeded",
        "capacity",
        "Reduce the rate to US numbers or raise the registration's trust score",
        "slow down",
    ),
    ErrorCode(
        30023,
        "Daily cap of the registered US brand is reached",
        "capacity",
        "Continue the next day or raise the registration's trust score",
        "slow down",
    ),
    ErrorCode(
        30032,
        "Toll-free number is not verified",
        "registration",
        "Have the sender's toll-free number verified",
        "stop the sender, page",
    ),
    ErrorCode(
        30034,
        "US number is not registered for application traffic",
        "registration",
        "Register the sender's number in a 10DLC campaign",
        "stop the sender, page",
    ),
    ErrorCode(
        30036,
        "Validity period expired before the message was sent",
        "capacity",
        "Send fewer messages at once, add senders or allow a longer validity",
        "report",
    ),
    ErrorCode(
        63003,
        "The channel knows no such address",
        "number",
        "Check that the recipient uses this channel, or use SMS",
        "suppress the number on this channel",
    ),
    ErrorCode(
        63016,
        "Outside the 24-hour WhatsApp window",
        "window",
        "Use an approved template, or wait until the recipient writes",
        "use a template",
    ),
    ErrorCode(
        63018,
        "Channel's rate limit is exceeded",
        "transient",
        "Reduce the send rate on this channel",
        "slow down",
    ),
    ErrorCode(
        63024,
        "Recipient cannot receive on this channel",
        "number",
        "Check that the recipient uses this channel, or use SMS",
        "suppress the number on this channel",
    ),
    ErrorCode(
        63038,
        "Account's daily message limit is reached",
        "capacity",
        "Continue the next day or ask the provider for a higher limit",
        "report",
    ),
    ErrorCode(
        63049,
        "WhatsApp chose not to deliver this marketing message",
        "recipient",
        "Write to this person less often and wait at least a day",
        "wait at least 24 h",
    ),
)
_BY_CODE = {error_code.code: error_code for error_code in ERROR_CODES}


def find_error_code(code: int) -> ErrorCode | None:
    return _BY_CODE.get(code)


def describe_error_code(code: int | None) -> ErrorCode:
    """Return the catalogue's entry, or one that says what to do about a code it does not have, or about none."""
    if code is None:
        return ErrorCode(0, "No error code", "unknown", "Look at the message in the provider's log", "report")
    return find_error_code(code) or ErrorCode(
        code,
        f"Provider error {code}",
        "unknown",
        f"Read https://www.twilio.com/docs/api/errors/{code}",
        "report",
    )
