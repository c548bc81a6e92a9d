{% set population %}
select t.timestamp, o.customer_id
from timestamps t
join orders o on o.ordered_at > t.timestamp - interval 90 day and o.ordered_at <= t.timestamp
group by all
{% endset %}

{% call training_table(
    reads=['shop__customers', 'shop__orders', 'shop__order_items'], population=population
) %}
select
    p.timestamp,
    p.customer_id,
    coalesce(sum(i.amount), 0) as spend
from population p
left join orders o
    on o.customer_id = p.customer_id
    and o.ordered_at > p.timestamp
    and o.ordered_at <= p.timestamp + interval '{{ window() }}'
left join order_items i on i.order_id = o.order_id
group by all
{% endcall %}
