{#-
  A training table whose labels are shipped as tables instead of made by SQL: one relation per
  split. At the as_of of the benchmark the splits are the shipped ones; at any other as_of the same
  rows are split anew by their windows, as `training_table` would.
-#}
{% macro shipped_labels(relations) %}
    {%- if execute -%}
        {%- set task = relforge.task_declaration() -%}
        {%- set as_of = relforge.as_of() %}
with shipped as (
        {%- for split, relation in relations.items() %}
    select
        {{ adapter.quote(task.entity_column) }} as entity,
        cast({{ adapter.quote(task.time_column) }} as timestamp) as cutoff_time,
        {{ adapter.quote(task.label_column) }} as label,
        '{{ split }}' as shipped_split
    from {{ relation }}
    {%- if not loop.last %} union all {% endif -%}
        {%- endfor %}
),
bounds as (
    select
        timestamp '{{ as_of }}' as as_of,
        timestamp '{{ as_of }}' - interval '{{ task.validation_span }}' as val_start,
        interval '{{ task.window }}' as span,
        timestamp '{{ as_of }}' = timestamp '{{ task.default_as_of or as_of }}' as is_benchmark
),
placed as (
    select
        entity, cutoff_time, label,
        case
            when is_benchmark then shipped_split
            when cutoff_time + span <= val_start then 'train'
            when cutoff_time >= val_start and cutoff_time + span <= as_of then 'val'
            when cutoff_time >= as_of and label is not null then 'test'
            when cutoff_time >= as_of then 'predict'
        end as split
    from shipped, bounds
)
select entity, cutoff_time, label, split from placed where split is not null
order by cutoff_time, entity
    {%- else -%}
        select null as entity, null as cutoff_time, null as label, null as split
    {%- endif -%}
{% endmacro %}
