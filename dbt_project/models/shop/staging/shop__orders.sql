select
    cast("order_id" as BIGINT) as "order_id",
    cast("customer_id" as BIGINT) as "customer_id",
    try_cast("ordered_at" as TIMESTAMP) as "ordered_at",
    cast("channel" as VARCHAR) as "channel",
    cast("payment_method" as VARCHAR) as "payment_method",
    cast("shipping_method" as VARCHAR) as "shipping_method",
    cast("promised_days" as BIGINT) as "promised_days",
    cast("coupon_code" as VARCHAR) as "coupon_code",
    cast("is_gift" as BOOLEAN) as "is_gift"
from {{ source('shop', 'orders') }}
