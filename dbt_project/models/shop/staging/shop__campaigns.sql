select
    cast("campaign_id" as BIGINT) as "campaign_id",
    cast("category_id" as BIGINT) as "category_id",
    try_cast("announced_at" as TIMESTAMP) as "announced_at",
    cast("starts_at" as TIMESTAMP) as "starts_at",
    cast("ends_at" as TIMESTAMP) as "ends_at",
    cast("discount" as DOUBLE) as "discount",
    cast("channel" as VARCHAR) as "channel"
from {{ source('shop', 'campaigns') }}
