select
    cast("support_contact_id" as BIGINT) as "support_contact_id",
    cast("customer_id" as BIGINT) as "customer_id",
    cast("order_id" as BIGINT) as "order_id",
    try_cast("contacted_at" as TIMESTAMP) as "contacted_at",
    cast("channel" as VARCHAR) as "channel",
    cast("topic" as VARCHAR) as "topic",
    cast("message" as VARCHAR) as "message",
    cast("wait_minutes" as DOUBLE) as "wait_minutes",
    cast("is_resolved" as BOOLEAN) as "is_resolved",
    cast("satisfaction" as BIGINT) as "satisfaction"
from {{ source('shop', 'support_contacts') }}
