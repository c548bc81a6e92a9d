-- The demo shop. A column that is added here and not simulated is made up.

CREATE TABLE categories (
    category_id BIGINT PRIMARY KEY,
    name VARCHAR NOT NULL CHECK (name IN (
        'cookware', 'bedding', 'lighting', 'garden', 'camping', 'cycling', 'toys', 'books',
        'stationery', 'audio', 'gadgets', 'skincare'
    )),
    department VARCHAR NOT NULL CHECK (
        department IN ('home', 'outdoor', 'family', 'electronics', 'care')
    )
);

CREATE TABLE products (
    product_id BIGINT PRIMARY KEY,
    category_id BIGINT NOT NULL REFERENCES categories,
    launched_at TIMESTAMP NOT NULL,
    name VARCHAR NOT NULL,
    brand VARCHAR NOT NULL CHECK (brand IN (
        'Alder', 'Birch & Co', 'Corvid', 'Dunlin', 'Elderwood', 'Fennel', 'Garrick', 'Harrow'
    )),
    list_price DOUBLE PRECISION NOT NULL,
    weight_kg DOUBLE PRECISION NOT NULL,
    warranty_months BIGINT,
    is_eco BOOLEAN NOT NULL
);

CREATE TABLE campaigns (
    campaign_id BIGINT PRIMARY KEY,
    category_id BIGINT NOT NULL REFERENCES categories,
    announced_at TIMESTAMP NOT NULL,
    starts_at TIMESTAMP NOT NULL,
    ends_at TIMESTAMP NOT NULL,
    discount DOUBLE PRECISION NOT NULL,
    channel VARCHAR NOT NULL CHECK (channel IN ('email', 'television', 'social', 'in_app'))
);

CREATE TABLE customers (
    customer_id BIGINT PRIMARY KEY,
    referrer_id BIGINT REFERENCES customers,
    signed_up_at TIMESTAMP NOT NULL,
    region VARCHAR NOT NULL CHECK (region IN ('north', 'south', 'east', 'west', 'islands')),
    signup_channel VARCHAR NOT NULL CHECK (
        signup_channel IN ('search', 'social', 'marketplace', 'newsletter', 'friend')
    ),
    birth_year BIGINT,
    is_member BOOLEAN NOT NULL,
    newsletter BOOLEAN NOT NULL
);

CREATE TABLE orders (
    order_id BIGINT PRIMARY KEY,
    customer_id BIGINT NOT NULL REFERENCES customers,
    ordered_at TIMESTAMP NOT NULL,
    channel VARCHAR NOT NULL CHECK (channel IN ('web', 'app', 'phone')),
    payment_method VARCHAR NOT NULL CHECK (
        payment_method IN ('card', 'wallet', 'invoice', 'gift_card')
    ),
    shipping_method VARCHAR NOT NULL CHECK (shipping_method IN ('standard', 'express', 'pickup')),
    promised_days BIGINT NOT NULL,
    coupon_code VARCHAR CHECK (coupon_code IN ('WELCOME', 'SPRING', 'VIP', 'THANKS')),
    is_gift BOOLEAN NOT NULL
);

CREATE TABLE order_items (
    order_item_id BIGINT PRIMARY KEY,
    order_id BIGINT NOT NULL REFERENCES orders,
    product_id BIGINT NOT NULL REFERENCES products,
    ordered_at TIMESTAMP NOT NULL,
    quantity BIGINT NOT NULL,
    unit_price DOUBLE PRECISION NOT NULL,
    discount DOUBLE PRECISION NOT NULL,
    amount DOUBLE PRECISION NOT NULL
);

CREATE TABLE shipments (
    shipment_id BIGINT PRIMARY KEY,
    order_id BIGINT NOT NULL REFERENCES orders,
    delivered_at TIMESTAMP NOT NULL,
    carrier VARCHAR NOT NULL CHECK (carrier IN ('Swift', 'Parcelo', 'Nordpost', 'Roadrunner')),
    days_late BIGINT NOT NULL,
    is_damaged BOOLEAN NOT NULL,
    cost DOUBLE PRECISION NOT NULL
);

CREATE TABLE returns (
    return_id BIGINT PRIMARY KEY,
    order_item_id BIGINT NOT NULL REFERENCES order_items,
    returned_at TIMESTAMP NOT NULL,
    reason VARCHAR NOT NULL CHECK (
        reason IN ('defective', 'wrong_size', 'changed_mind', 'not_as_described')
    ),
    refund DOUBLE PRECISION NOT NULL
);

CREATE TABLE reviews (
    review_id BIGINT PRIMARY KEY,
    customer_id BIGINT NOT NULL REFERENCES customers,
    product_id BIGINT NOT NULL REFERENCES products,
    order_item_id BIGINT NOT NULL REFERENCES order_items,
    reviewed_at TIMESTAMP NOT NULL,
    rating BIGINT NOT NULL,
    review_text VARCHAR
);

CREATE TABLE support_contacts (
    support_contact_id BIGINT PRIMARY KEY,
    customer_id BIGINT NOT NULL REFERENCES customers,
    order_id BIGINT REFERENCES orders,
    contacted_at TIMESTAMP NOT NULL,
    channel VARCHAR NOT NULL CHECK (channel IN ('email', 'chat', 'phone')),
    topic VARCHAR NOT NULL CHECK (
        topic IN ('late_delivery', 'damaged_parcel', 'defective_item', 'question')
    ),
    message VARCHAR NOT NULL,
    wait_minutes DOUBLE PRECISION NOT NULL,
    is_resolved BOOLEAN NOT NULL,
    satisfaction BIGINT
);
