select
    cast("customer_id" as BIGINT) as "customer_id",
    cast("referrer_id" as BIGINT) as "referrer_id",
    try_cast("signed_up_at" as TIMESTAMP) as "signed_up_at",
    cast("region" as VARCHAR) as "region",
    cast("signup_channel" as VARCHAR) as "signup_channel",
    cast("birth_year" as BIGINT) as "birth_year",
    cast("is_member" as BOOLEAN) as "is_member",
    cast("newsletter" as BOOLEAN) as "newsletter"
from {{ source('shop', 'customers') }}
