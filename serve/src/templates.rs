//! Chat templates that are known by name (llama-server's `--chat-template NAME`): Jinja programs.

/// Names and programs. Texts are trimmed where llama.cpp trims them.
const KNOWN: [(&str, &str); 10] = [
    ("chatml", CHATML),
    (
        "llama2",
        "{% set ns = namespace(system='') %}{% for m in messages %}\
         {% if m.role == 'system' %}\
         {% set ns.system = '<<SYS>>\n' ~ m.content ~ '\n<</SYS>>\n\n' %}\
         {% elif m.role == 'user' %}{{ '[INST] ' ~ ns.system ~ m.content ~ ' [/INST]' }}\
         {% set ns.system = '' %}\
         {% else %}{{ ' ' ~ m.content ~ ' ' ~ eos_token }}{% endif %}{% endfor %}",
    ),
    (
        "llama3",
        "{% for m in messages %}{{ '<|start_header_id|>' ~ m.role ~ '<|end_header_id|>\n\n' \
         ~ m.content|trim ~ '<|eot_id|>' }}{% endfor %}\
         {% if add_generation_prompt %}\
         {{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    ),
    (
        "mistral-v7",
        "{% for m in messages %}\
         {% if m.role == 'system' %}{{ '[SYSTEM_PROMPT] ' ~ m.content ~ '[/SYSTEM_PROMPT]' }}\
         {% elif m.role == 'user' %}{{ '[INST] ' ~ m.content ~ '[/INST]' }}\
         {% else %}{{ ' ' ~ m.content ~ eos_token }}{% endif %}{% endfor %}",
    ),
    (
        "phi3",
        "{% for m in messages %}{{ '<|' ~ m.role ~ '|>\n' ~ m.content ~ '<|end|>\n' }}{% endfor %}\
         {% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
    ),
    (
        "zephyr",
        "{% for m in messages %}{{ '<|' ~ m.role ~ '|>\n' ~ m.content ~ eos_token ~ '\n' }}\
         {% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
    ),
    (
        "gemma",
        "{% set ns = namespace(system='') %}{% for m in messages %}\
         {% if m.role == 'system' %}{% set ns.system = m.content|trim ~ '\n\n' %}\
         {% elif m.role == 'user' %}\
         {{ '<start_of_turn>user\n' ~ ns.system ~ m.content|trim ~ '<end_of_turn>\n' }}\
         {% set ns.system = '' %}\
         {% else %}{{ '<start_of_turn>model\n' ~ m.content|trim ~ '<end_of_turn>\n' }}\
         {% endif %}{% endfor %}\
         {% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
    ),
    (
        "vicuna",
        "{% for m in messages %}{% if m.role == 'system' %}{{ m.content ~ '\n\n' }}\
         {% elif m.role == 'user' %}{{ 'USER: ' ~ m.content ~ '\n' }}\
         {% else %}{{ 'ASSISTANT: ' ~ m.content ~ '</s>\n' }}{% endif %}{% endfor %}\
         {% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}",
    ),
    (
        "deepseek",
        "{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}\
         {% elif m.role == 'user' %}{{ '### Instruction:\n' ~ m.content ~ '\n' }}\
         {% else %}{{ '### Response:\n' ~ m.content ~ '\n<|EOT|>\n' }}{% endif %}{% endfor %}\
         {% if add_generation_prompt %}{{ '### Response:\n' }}{% endif %}",
    ),
    (
        "command-r",
        "{% set words = {'system': 'SYSTEM', 'user': 'USER', 'assistant': 'CHATBOT'} %}\
         {% for m in messages %}{{ '<|START_OF_TURN_TOKEN|><|' ~ words[m.role] ~ '_TOKEN|>' \
         ~ m.content|trim ~ '<|END_OF_TURN_TOKEN|>' }}{% endfor %}\
         {% if add_generation_prompt %}\
         {{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif %}",
    ),
];

/// Template of models without one, as in llama-server.
pub(crate) const CHATML: &str = "{% for m in messages %}\
    {{ '<|im_start|>' ~ m.role ~ '\n' ~ m.content ~ '<|im_end|>\n' }}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// Chat template of a known name; anything else is a template itself.
pub fn chat_template(name: &str) -> &str {
    let known = KNOWN.iter().find(|(known, _)| *known == name);
    known.map_or(name, |(_, program)| program)
}

#[cfg(test)]
mod tests {
    use llama2_engine::chat::ChatTemplate;

    use super::*;

    #[test]
    fn known_templates_are_templates() {
        for (name, _) in KNOWN {
            let template = ChatTemplate::new(chat_template(name));
            assert!(template.fault().is_none(), "{name}: {:?}", template.fault());
        }
        assert_eq!(chat_template("{{ 1 }}"), "{{ 1 }}");
    }
}
