{#-
  The temporal vocabulary of a task model.

      {% call training_table(reads=['shop__customers', 'shop__orders']) %}
      select t.timestamp, o.customer_id, ... as churned
      from timestamps t left join orders o
        on o.ordered_at > t.timestamp and o.ordered_at <= t.timestamp + interval '{{ window() }}'
      {% endcall %}

  The body is plain SQL over `timestamps(timestamp)`, the cutoff times, and over the tables named in
  `reads`, each under its table name. It returns the columns that the task's meta block names as
  time_column, entity_column and label_column. The label of cutoff t comes from (t, t + window].

  reads       models that the SQL reads, and the entity table.
  history     models whose earliest event bounds the training cutoffs (default: reads).
  population  SQL that returns (timestamp, entity): who is to be predicted at a cutoff whose window
              is still open. It may also be read by the body, as the relation `population`.

  Result: entity, cutoff_time, label, split. Splits relative to as_of T (variable `as_of`):
    train    windows close at or before T - validation_span; sees rows up to T
    val      cutoffs from T - validation_span, windows close at or before T; sees rows up to T
    test     cutoffs from T whose window has closed in the data; sees every row
    predict  the cutoff T while its window is open: no label
-#}
{% macro training_table(reads, history=none, population=none) %}
    {%- set relations = {} -%}
    {%- for name in reads -%}
        {%- do relations.update({name: ref(name)}) -%}
    {%- endfor -%}
    {%- set history_relations = {} -%}
    {%- for name in history or reads -%}
        {%- do history_relations.update({name: ref(name)}) -%}
    {%- endfor -%}
    {%- if execute -%}
        {%- set task = relforge.task_declaration() -%}
        {%- if task.entity_table not in relations -%}
            {{ exceptions.raise_compiler_error(
                "task " ~ model.name ~ ": add its entity table '" ~ task.entity_table ~ "' to reads"
            ) }}
        {%- endif -%}
        {%- set entity_relation = relations[task.entity_table] -%}
        {%- set frames = relforge.cutoff_frames(task, history_relations) -%}
        {%- do relforge.assert_task_columns(task, relations, frames[0], population, caller()) -%}
        {%- set branches = [] -%}
        {%- for frame in frames if frame.split != 'predict' -%}
            {%- do branches.append(relforge.task_rows(task, relations, frame, population, caller())) -%}
        {%- endfor -%}
with labelled as (
    {{ branches | join('\n    union all\n') }}
)
        {%- set open_frames = frames | selectattr('split', 'equalto', 'predict') | list -%}
        {%- if open_frames -%}
,
{{ relforge.open_rows(task, relations, open_frames[0], population, caller()) }}
,
task_table as (select * from labelled union all select * from to_predict)
        {%- else -%}
,
task_table as (select * from labelled)
        {%- endif %}

select entity, cutoff_time, label, split
from task_table
where entity in (
    {{ relforge.visible_rows(task.entity_table, entity_relation, relforge.as_of(), task.entity_key) }}
)
order by cutoff_time, entity
    {%- else -%}
        {#- While parsing, only the references above and the body's own matter. -#}
        {%- do caller() -%}
        {%- if population %}{% do population | string %}{% endif -%}
        {%- set meta = (config.get('meta') or {}).get('relforge', {}) -%}
        select null as entity, null as cutoff_time, null as label, null as split
    {%- endif -%}
{% endmacro %}


{#- The label window of this model's task, as the text of a DuckDB interval. -#}
{% macro window() -%}
    {%- if execute -%}{{ relforge.task_declaration().window }}{%- else -%}1 day{%- endif -%}
{%- endmacro %}


{#- The date of this run. -#}
{% macro as_of() -%}
    {{ var('as_of', modules.datetime.date.today().isoformat()) }}
{%- endmacro %}


{#- The task's meta block with its defaults filled in. -#}
{% macro task_declaration() %}
    {%- set task = (model.config.meta or {}).get('relforge', {}).get('task') -%}
    {%- if not task -%}
        {{ exceptions.raise_compiler_error(
            model.name ~ ": no task is declared; add config.meta.relforge.task to its YAML "
            "(entity_table, entity_column, time_column, label_column, type, window, validation_span)"
        ) }}
    {%- endif -%}
    {%- set entity_node = relforge.model_node(task.entity_table) -%}
    {%- do return({
        'entity_table': task.entity_table,
        'entity_key': (entity_node.primary_key or [task.entity_column])[0].strip('"'),
        'entity_column': task.entity_column,
        'time_column': task.get('time_column', 'timestamp'),
        'label_column': task.get('label_column', 'label'),
        'window': task.window,
        'stride': task.get('stride', task.window),
        'validation_span': task.validation_span,
        'evaluation_cutoffs': task.get('evaluation_cutoffs', 1),
        'default_as_of': relforge.benchmark_as_of(),
    }) -%}
{% endmacro %}


{#- The benchmark's test timestamp that the database's sources declare, if any. -#}
{% macro benchmark_as_of() %}
    {%- for source in graph.sources.values() if source.fqn[1] == model.fqn[1] -%}
        {%- set meta = (source.source_meta or source.config.meta or {}).get('relforge', {}) -%}
        {%- do return(meta.get('database', {}).get('default_as_of')) -%}
    {%- endfor -%}
{% endmacro %}


{#- The node of a model in this project, by name. -#}
{% macro model_node(name) %}
    {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.name == name -%}
        {%- do return(node) -%}
    {%- endfor -%}
    {{ exceptions.raise_compiler_error(model.name ~ ": unknown model '" ~ name ~ "'") }}
{% endmacro %}


{#- `select` over the rows of a model that exist at or before a time; all of them when it has no
    event_time. -#}
{% macro visible_rows(name, relation, until=none, column=none) -%}
    select {{ adapter.quote(column) if column else '*' }} from {{ relation }}
    {%- set event_time = relforge.model_node(name).config.event_time -%}
    {%- if until and event_time %} where {{ adapter.quote(event_time) }} <= timestamp '{{ until }}'{% endif -%}
{%- endmacro %}


{#- One query: the body over the cutoffs of a frame and the rows that the frame may see. -#}
{% macro task_query(relations, frame, population, body) -%}
    with
    {%- for name, relation in relations.items() %}
    {{ adapter.quote(relforge.table_name(name)) }} as (
        {{ relforge.visible_rows(name, relation, frame.visible_until) }}
    ),
    {%- endfor %}
    timestamps as (
        select unnest(generate_series(
            timestamp '{{ frame.first }}', timestamp '{{ frame.last }}', {{ frame.step }}
        )) as "timestamp"
    ),
    {%- if population %}
    population as (
        {{ population }}
    ),
    {%- endif %}
    task_sql as (
        {{ body }}
    )
    select * from task_sql
{%- endmacro %}


{% macro task_rows(task, relations, frame, population, body) -%}
    select
        {{ adapter.quote(task.entity_column) }} as entity,
        cast({{ adapter.quote(task.time_column) }} as timestamp) as cutoff_time,
        {{ adapter.quote(task.label_column) }} as label,
        '{{ frame.split }}' as split
    from ({{ relforge.task_query(relations, frame, population, body) }})
{%- endmacro %}


{#- Who is to be predicted while the window is open: the declared population; else the entities that
    the task's own SQL selects from the rows so far; else those of the validation split. -#}
{% macro open_rows(task, relations, frame, population, body) -%}
open_population as (
    {%- if population %}
    select
        {{ adapter.quote(task.entity_column) }} as entity, timestamp '{{ frame.first }}' as cutoff_time
    from ({{ relforge.task_query(relations, frame, none, population) }})
    {%- else %}
    select entity, cutoff_time from ({{ relforge.task_rows(task, relations, frame, population, body) }})
    {%- endif %}
),
to_predict as (
    select distinct entity, cutoff_time, (select any_value(label) from labelled where false) as label,
        'predict' as split
    from (
        select entity, cutoff_time from open_population
        {%- if not population %}
        union all
        select entity, timestamp '{{ frame.first }}' from labelled
        where split = 'val' and not exists (select 1 from open_population)
        {%- endif %}
    )
)
{%- endmacro %}


{#- The SQL must return the declared columns: say so before anything is computed. -#}
{% macro assert_task_columns(task, relations, frame, population, body) %}
    {%- set described = run_query(
        'describe ' ~ relforge.task_query(relations, frame, population, body)
    ) -%}
    {%- set found = described.columns[0].values() | list -%}
    {%- set lower = found | map('lower') | list -%}
    {%- set missing = [] -%}
    {%- for column in [task.time_column, task.entity_column, task.label_column] -%}
        {%- if column | lower not in lower -%}{%- do missing.append(column) -%}{%- endif -%}
    {%- endfor -%}
    {%- if missing -%}
        {{ exceptions.raise_compiler_error(
            "task " ~ model.name ~ ": its SQL returns the columns " ~ (found | join(', '))
            ~ " but not " ~ (missing | join(', ')) ~ ". Select time_column '" ~ task.time_column
            ~ "', entity_column '" ~ task.entity_column ~ "' and label_column '" ~ task.label_column
            ~ "', or change these names in the task's meta block."
        ) }}
    {%- endif -%}
{% endmacro %}
