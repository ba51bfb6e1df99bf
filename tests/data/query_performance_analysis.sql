-- Query performance analysis
SELECT 
    query,
    calls,
    total_time,
    mean_time,
    rows
FROM pg_stat_statements 
WHERE query LIKE '%users%' OR query LIKE '%campaigns%'
ORDER BY total_time DESC 
LIMIT 10;
