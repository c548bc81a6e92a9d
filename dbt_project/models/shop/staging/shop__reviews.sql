select
    cast("review_id" as BIGINT) as "review_id",
    cast("customer_id" as BIGINT) as "customer_id",
    cast("product_id" as BIGINT) as "product_id",
    cast("order_item_id" as BIGINT) as "order_item_id",
    try_cast("reviewed_at" as TIMESTAMP) as "reviewed_at",
    cast("rating" as BIGINT) as "rating",
    cast("review_text" as VARCHAR) as "review_text"
from {{ source('shop', 'reviews') }}
