select
    cast("category_id" as BIGINT) as "category_id",
    cast("name" as VARCHAR) as "name",
    cast("department" as VARCHAR) as "department"
from {{ source('shop', 'categories') }}
