-- User journey analysis
WITH user_journey AS (
    SELECT 
        u.phone_e164,
        u.created_at as signup_date,
        COUNT(m.id) as messages_received,
        COUNT(ie.id) as responses_sent,
        u.consent_state
    FROM users u
    LEFT JOIN messages m ON u.phone_e164 = m.recipient_phone
    LEFT JOIN inbound_events ie ON u.phone_e164 = ie.from_phone
    WHERE u.created_at >= CURRENT_DATE - INTERVAL '90 days'
    GROUP BY u.phone_e164, u.created_at, u.consent_state
)
SELECT 
    consent_state,
    COUNT(*) as users,
    AVG(messages_received) as avg_messages_received,
    AVG(responses_sent) as avg_responses,
    ROUND(AVG(responses_sent) / NULLIF(AVG(messages_received), 0) * 100, 2) as engagement_rate
FROM user_journey
GROUP BY consent_state;
