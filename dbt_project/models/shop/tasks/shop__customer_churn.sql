{% set population %}
select t.timestamp, o.customer_id
from timestamps t
join orders o on o.ordered_at > t.timestamp - interval 90 day and o.ordered_at <= t.timestamp
group by all
{% endset %}

{% call training_table(reads=['shop__customers', 'shop__orders'], population=population) %}
select
    p.timestamp,
    p.customer_id,
    cast(count(o.order_id) = 0 as integer) as churned
from population p
left join orders o
    on o.customer_id = p.customer_id
    and o.ordered_at > p.timestamp
    and o.ordered_at <= p.timestamp + interval '{{ window() }}'
group by all
{% endcall %}
