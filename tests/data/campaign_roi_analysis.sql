-- Campaign effectiveness by segment
SELECT 
    c.name as campaign_name,
    s.name as segment_name,
    COUNT(m.id) as messages_sent,
    COUNT(CASE WHEN dr.message_status = 'delivered' THEN 1 END) as delivered,
    ROUND(
        COUNT(CASE WHEN dr.message_status = 'delivered' THEN 1 END) * 100.0 / COUNT(m.id), 
        2
    ) as delivery_rate
FROM campaigns c
JOIN segments s ON c.segment_id = s.id
JOIN messages m ON c.id = m.campaign_id
LEFT JOIN delivery_receipts dr ON m.provider_sid = dr.message_sid
WHERE c.created_at >= CURRENT_DATE - INTERVAL '30 days'
GROUP BY c.id, c.name, s.name
ORDER BY delivery_rate DESC;
