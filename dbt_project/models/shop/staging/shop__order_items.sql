select
    cast("order_item_id" as BIGINT) as "order_item_id",
    cast("order_id" as BIGINT) as "order_id",
    cast("product_id" as BIGINT) as "product_id",
    try_cast("ordered_at" as TIMESTAMP) as "ordered_at",
    cast("quantity" as BIGINT) as "quantity",
    cast("unit_price" as DOUBLE) as "unit_price",
    cast("discount" as DOUBLE) as "discount",
    cast("amount" as DOUBLE) as "amount"
from {{ source('shop', 'order_items') }}
