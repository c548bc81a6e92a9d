select
    cast("shipment_id" as BIGINT) as "shipment_id",
    cast("order_id" as BIGINT) as "order_id",
    try_cast("delivered_at" as TIMESTAMP) as "delivered_at",
    cast("carrier" as VARCHAR) as "carrier",
    cast("days_late" as BIGINT) as "days_late",
    cast("is_damaged" as BOOLEAN) as "is_damaged",
    cast("cost" as DOUBLE) as "cost"
from {{ source('shop', 'shipments') }}
