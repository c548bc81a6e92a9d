{% set population %}
select t.timestamp, i.product_id
from timestamps t
join order_items i on i.ordered_at > t.timestamp - interval 28 day and i.ordered_at <= t.timestamp
group by all
{% endset %}

{% call training_table(
    reads=['shop__products', 'shop__order_items'], population=population
) %}
select
    p.timestamp,
    p.product_id,
    cast(coalesce(sum(i.quantity), 0) as double) as units
from population p
left join order_items i
    on i.product_id = p.product_id
    and i.ordered_at > p.timestamp
    and i.ordered_at <= p.timestamp + interval '{{ window() }}'
group by all
{% endcall %}
