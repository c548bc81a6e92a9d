select
    cast("product_id" as BIGINT) as "product_id",
    cast("category_id" as BIGINT) as "category_id",
    try_cast("launched_at" as TIMESTAMP) as "launched_at",
    cast("name" as VARCHAR) as "name",
    cast("brand" as VARCHAR) as "brand",
    cast("list_price" as DOUBLE) as "list_price",
    cast("weight_kg" as DOUBLE) as "weight_kg",
    cast("warranty_months" as BIGINT) as "warranty_months",
    cast("is_eco" as BOOLEAN) as "is_eco"
from {{ source('shop', 'products') }}
