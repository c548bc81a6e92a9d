{#- A database is a folder of models: its tables live in the schema of that name, its training
    tables in <database>_tasks. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- if custom_schema_name is not none -%}
        {{ custom_schema_name | trim }}
    {%- elif node.fqn | length > 2 -%}
        {%- set meta = (node.config.meta or {}).get('relforge', {}) -%}
        {{ node.fqn[1] }}{{ '_tasks' if meta.get('task') else '' }}
    {%- else -%}
        {{ target.schema }}
    {%- endif -%}
{%- endmacro %}

{#- Model names are unique across the project, so they carry the database's name as a prefix
    (`shop__orders`); the relation in the warehouse does not (`shop.orders`). -#}
{% macro generate_alias_name(custom_alias_name=none, node=none) -%}
    {%- if custom_alias_name -%}
        {{ custom_alias_name | trim }}
    {%- else -%}
        {{ relforge.table_name(node.name) }}
    {%- endif -%}
{%- endmacro %}

{% macro table_name(model_name) -%}
    {{ model_name.split('__', 1)[1] if '__' in model_name else model_name }}
{%- endmacro %}
