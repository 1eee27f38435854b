//! The JSON Schema of the config, for completion and hover texts in editors. Made from the table of fields.

use serde_json::{Map, Value, json};

use super::fields::{CONFIG, Fallback, Field, Shape, TextRule};

/// The schema, draft 2020-12.
pub fn schema() -> Value {
    let mut schema = object_schema(CONFIG);
    schema.insert(
        "$schema".to_owned(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    schema.insert("title".to_owned(), json!("Rollbridge config"));
    schema.sort_keys();
    if let Some(processes) = schema
        .get_mut("properties")
        .and_then(|fields| fields.get_mut("processes"))
    {
        let proxied = json!({"properties": {"policy": {"const": "proxied"}}, "required": ["policy"]});
        processes["contains"] = proxied;
        processes["minContains"] = json!(1);
        processes["maxContains"] = json!(1);
    }
    Value::Object(schema)
}

fn object_schema(fields: &[Field]) -> Map<String, Value> {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|field| (field.name.to_owned(), Value::Object(field_schema(field))))
        .collect();
    let required: Vec<&str> = fields
        .iter()
        .filter(|field| field.fallback == Fallback::Required)
        .map(|field| field.name)
        .collect();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema.insert("additionalProperties".to_owned(), json!(false));
    schema
}

fn field_schema(field: &Field) -> Map<String, Value> {
    let mut schema = shape_schema(&field.shape);
    if field.fallback != Fallback::Required {
        allow_null(&mut schema);
    }
    let mut about = field.about.to_owned();
    match field.fallback {
        Fallback::Value(text) => {
            let value = serde_json::from_str(text).expect("a test reads every default as JSON");
            schema.insert("default".to_owned(), value);
        }
        Fallback::Described(words) => about = format!("{about} Default: {words}."),
        Fallback::Required | Fallback::Nothing => {}
    }
    schema.insert("description".to_owned(), Value::String(about));
    schema
}

/// Null means unset, so it fits wherever a field may be left out.
fn allow_null(schema: &mut Map<String, Value>) {
    if let Some(kind) = schema.get_mut("type") {
        *kind = json!([kind, "null"]);
    } else if let Some(value) = schema.shift_remove("const") {
        schema.insert("enum".to_owned(), json!([value, null]));
    } else if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.push(Value::Null);
    } else if let Some(Value::Array(shapes)) = schema.get_mut("anyOf") {
        shapes.push(json!({"type": "null"}));
    }
}

fn shape_schema(shape: &Shape) -> Map<String, Value> {
    let schema = match shape {
        Shape::Text(rule) => match rule {
            TextRule::Any => json!({"type": "string", "minLength": 1}),
            TextRule::Application => json!({"type": "string", "pattern": "^[^/]+$"}),
            TextRule::ProcessId => json!({"type": "string", "pattern": "^[^#]+$"}),
            TextRule::Host => {
                json!({"type": "string", "pattern": r"^(\[[0-9A-Fa-f:.%]+\]|[^/\s:]+|[^/\s:]*:[^/\s:]*:[^/\s]*)$"})
            }
            TextRule::RequestPath => json!({"type": "string", "pattern": "^/[!-~]*$"}),
        },
        Shape::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Shape::Number { min } => json!({"type": "number", "minimum": min}),
        Shape::Boolean => json!({"type": "boolean"}),
        Shape::False => json!({"const": false}),
        Shape::Word([word]) => json!({"const": word}),
        Shape::Word(words) => json!({"enum": words}),
        Shape::Signal => json!({"type": "string", "pattern": "^SIG[A-Z0-9]+$"}),
        Shape::Mode => json!({"anyOf": [
            {"type": "string", "pattern": "^(0o?)?[0-7]{3}$"},
            {"type": "integer", "minimum": 0, "maximum": 0o777},
        ]}),
        Shape::Principal => json!({"anyOf": [
            {"type": "string", "minLength": 1},
            {"type": "integer", "minimum": 0, "maximum": u32::MAX - 1},
        ]}),
        Shape::Network => json!({"type": "string", "pattern": "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$"}),
        Shape::List { of, min_length } => {
            json!({"type": "array", "items": shape_schema(of), "minItems": min_length})
        }
        Shape::Environment => json!({"type": "object", "additionalProperties": {"type": ["string", "null"]}}),
        Shape::Object(fields) => Value::Object(object_schema(fields)),
        Shape::Either(shapes) => json!({"anyOf": shapes.iter().map(shape_schema).collect::<Vec<_>>()}),
    };
    match schema {
        Value::Object(schema) => schema,
        _ => unreachable!("every schema above is an object"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// With `ROLLBRIDGE_BLESS=1` in the environment this test writes the file instead of comparing.
    #[test]
    fn the_shipped_schema_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/rollbridge.schema.json");
        let text = format!(
            "{}\n",
            serde_json::to_string_pretty(&schema()).expect("a schema is JSON")
        );
        if std::env::var_os("ROLLBRIDGE_BLESS").is_some() {
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("the schema folder");
            std::fs::write(&path, &text).expect("the schema file");
        }
        let shipped = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            shipped == text,
            "run `ROLLBRIDGE_BLESS=1 cargo test --lib config::schema` and commit the result"
        );
    }
}
