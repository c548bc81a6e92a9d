select
    cast("return_id" as BIGINT) as "return_id",
    cast("order_item_id" as BIGINT) as "order_item_id",
    try_cast("returned_at" as TIMESTAMP) as "returned_at",
    cast("reason" as VARCHAR) as "reason",
    cast("refund" as DOUBLE) as "refund"
from {{ source('shop', 'returns') }}
